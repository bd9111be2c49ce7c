"""The column of classes: quantities are refused, oddities are named with counts and rows."""

import pyarrow as pa
import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.rows.target_facts import TargetFacts


def facts_of(*batches: list[str | float | None], kept: bool = False) -> TargetFacts:
    facts = TargetFacts("y", kept=kept)
    for values in batches:
        facts.see(pa.table({"y": pa.array(values)}), "d.csv")
    return facts


def test_classes_are_counted_over_batches() -> None:
    facts = facts_of(["b", "a", "b"], ["a", "c", "c"])

    assert facts.classes == ["a", "b", "c"]
    assert dict(facts.counts) == {"a": 2, "b": 2, "c": 2}
    facts.refuse()
    assert facts.notes() == []


def test_rows_without_a_class_are_counted_and_the_first_is_named() -> None:
    facts = facts_of(["a", "b"], ["a", None, "", "b"])

    with pytest.raises(InputError, match=r"'y': 2 rows without a class, the first is .*row 4"):
        facts.refuse()


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
