"""The column of classes: quantities are refused, oddities are named with counts and rows."""

import pyarrow as pa
import pytest
from unlearn.stages.columns.target_facts import TargetFacts
from unlearn.stages.errors import InputError


def facts_of(
    *batches: list[str | float | None], kept: bool = False, drops: bool = False
) -> TargetFacts:
    facts = TargetFacts("y", kept=kept, drops=drops)
    for values in batches:
        facts.see(pa.table({"y": pa.array(values)}), "d.csv")
    return facts


def test_classes_are_counted_over_batches() -> None:
    facts = facts_of(["b", "a", "b"], ["a", "c", "c"])

    assert facts.classes == ["a", "b", "c"]
    assert dict(facts.counts) == {"a": 2, "b": 2, "c": 2}
    facts.refuse()
    assert facts.notes() == []


def test_rows_without_a_class_are_counted_and_the_first_are_named() -> None:
    facts = facts_of(["a", "b"], ["a", None, "", "b"], [" ", "null", "?", "NA", "b"])

    with pytest.raises(InputError) as caught:
        facts.refuse()

    where = "d.csv, data rows 4, 5, 7, 8, 9, ..."
    assert caught.value.message == f"column 'y': 6 rows without a class: {where}"
    assert caught.value.hints == (
        "--drop-unlabelled leaves these rows out; or give them a class",
        "if '?', 'NA', 'null' is a class: --keep=y",
    )


def test_rows_without_a_class_can_be_dropped_but_not_all() -> None:
    facts = facts_of(["a", None, "b"], drops=True)

    facts.refuse()
    assert facts.unlabelled == 1
    assert facts.classes == ["a", "b"]
    assert facts.notes()[0] == "column 'y': 1 row without a class: d.csv, data row 2; dropped"
    with pytest.raises(InputError, match="2 rows without a class"):
        facts_of([None, ""], drops=True).refuse()


def test_texts_for_missing_values_can_be_kept_as_classes() -> None:
    facts = facts_of(["NA", "EU", "NA"], kept=True)

    facts.refuse()
    assert facts.classes == ["EU", "NA"]


def test_a_class_that_may_mean_that_there_is_none_is_noted() -> None:
    notes = facts_of(["-", "a", "a", "-", "b", "b"]).notes()

    assert notes == [
        (
            "column 'y' has a class '-' in 2 rows; if it means that there is none: --missing=- "
            "--drop-unlabelled"
        )
    ]


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ([f"{n}.5" for n in range(60)] * 20, True),  # money: decimals
        ([str(n) for n in range(60)] * 3, True),  # 60 whole numbers in 180 rows
        ([str(n) for n in range(60)] * 30, False),  # 60 codes of 30 rows each
        ([str(n) for n in range(50)] * 2, False),  # few
        ([f"c{n}" for n in range(60)] * 2, False),  # no numbers
    ],
)
def test_quantities_are_no_classes(values: list[str | float | None], refused: bool) -> None:
    facts = facts_of(values)

    if not refused:
        facts.refuse()
        return
    with pytest.raises(InputError, match="60 different numbers in .* looks like a regression"):
        facts.refuse()
    facts_of(values, kept=True).refuse()


def test_classes_that_look_alike_and_classes_of_one_row_are_noted() -> None:
    facts = facts_of(["yes", "no", "Yes ", "no", "yes"])

    alike, single = facts.notes()

    assert "'Yes ' in 1 rows from" in alike
    assert "'yes' in 2 rows from" in alike
    assert "data row 3" in alike
    assert "1 class with a single row, such as" in single
