"""The target: classes or a quantity, and oddities with counts and rows."""

import pyarrow as pa
import pytest
from unlearn.stages.columns.target_facts import MAX_CLASSES, TargetFacts
from unlearn.stages.config.section import Task
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
    facts.settle()
    assert facts.notes() == []


def test_rows_without_a_class_are_counted_and_the_first_are_named() -> None:
    facts = facts_of(["a", "b"], ["a", None, "", "b"], [" ", "null", "?", "NA", "b"])

    with pytest.raises(InputError) as caught:
        facts.settle()

    where = "d.csv, data rows 4, 5, 7, 8, 9, ..."
    assert caught.value.message == f"column 'y': 6 rows without a class: {where}"
    assert caught.value.hints == (
        "--drop-unlabelled leaves these rows out; or give them a class",
        "if '?', 'NA', 'null' is a class: --keep=y",
    )


def test_rows_without_a_class_can_be_dropped_but_not_all() -> None:
    facts = facts_of(["a", None, "b"], drops=True)

    facts.settle()
    assert facts.unlabelled == 1
    assert facts.classes == ["a", "b"]
    assert facts.notes()[0] == "column 'y': 1 row without a class: d.csv, data row 2; dropped"
    with pytest.raises(InputError, match="2 rows without a class"):
        facts_of([None, ""], drops=True).settle()


def test_texts_for_missing_values_can_be_kept_as_classes() -> None:
    facts = facts_of(["NA", "EU", "NA"], kept=True)

    facts.settle()
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
    ("values", "task"),
    [
        ([f"{n}.5" for n in range(60)] * 20, "regression"),  # money: decimals
        ([str(n) for n in range(60)] * 3, None),  # 60 whole numbers in 180 rows: ages, or codes
        ([str(n) for n in range(60)] * 30, None),
        ([str(n) for n in range(30)], None),  # each once
        ([f"{n / 2}" for n in range(30)] * 9, None),  # half stars, or amounts
        ([str(n) for n in range(1_001)] * 9, "regression"),
        ([str(n) for n in range(201)], "regression"),
        ([str(n) for n in range(50)] * 2, "classification"),  # few
        ([f"{n / 2}" for n in range(10)], "classification"),
        ([f"c{n}" for n in range(60)] * 2, "classification"),  # no numbers
        ([f"c{n}" for n in range(20)] + [str(n) for n in range(60)], "classification"),
    ],
)
def test_what_the_target_is_follows_from_its_values(
    values: list[str | float | None], task: str | None
) -> None:
    facts = facts_of(values)

    assert facts.task() == task
    assert facts_of(values[::-1]).task() == task
    assert facts_of(values[: len(values) // 2], values[len(values) // 2 :]).task() == task
    if task is not None:
        assert facts.settle() == task
        return
    with pytest.raises(InputError, match="different numbers in .* classes, or a quantity") as error:
        facts.settle()
    assert "--task regression predicts a number; --task classification" in error.value.hints[0]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_user_decides_what_the_target_is(task: Task) -> None:
    unclear, clear = [str(n) for n in range(60)] * 3, [f"{n}.5" for n in range(90)]

    for values in (unclear, clear, ["1", "2", "1"]):
        asked = TargetFacts("y", asked=task)
        asked.see(pa.table({"y": values}), "d.csv")
        assert asked.settle() == task
        assert facts_of([*values], kept=True).settle() == "classification"


def test_a_proposed_regression_is_noted_and_an_asked_one_is_not() -> None:
    values = [f"{n}.5" for n in range(90)]
    asked = TargetFacts("y", asked="regression")
    asked.see(pa.table({"y": values}), "d.csv")

    (note,) = facts_of([*values]).notes()
    assert note.startswith("column 'y' has 90 different numbers, so the task is regression:")
    assert "--task classification makes each number a class" in note
    assert asked.notes() == []


def test_rows_without_a_finite_number_are_named() -> None:
    values: list[str | float | None] = [f"{n}.5" for n in range(90)]
    values[3:6] = [None, "inf", "NA"]
    facts, dropped = facts_of(values), facts_of(values, drops=True)

    with pytest.raises(InputError) as caught:
        facts.settle()

    where = "d.csv, data rows 4, 5, 6"
    assert caught.value.message == f"column 'y': 3 rows without a finite number: {where}"
    assert dropped.settle() == "regression"
    assert dropped.without_target("regression") == 3
    assert dropped.notes()[0] == f"column 'y': 3 rows without a finite number: {where}; dropped"


def test_a_value_that_is_no_number_among_numbers_is_named() -> None:
    values: list[str | float | None] = [f"{n}.5" for n in range(90)]
    values[7] = "unknown"

    with pytest.raises(InputError, match="d.csv, data row 8: column 'y': the value is not a numb"):
        facts_of(values).settle()
    assert facts_of(values, kept=True).settle() == "classification"


def test_amounts_with_currency_signs_are_no_classes() -> None:
    values: list[str | float | None] = [f"${n},{n:03}.50" for n in range(100, 190)]

    with pytest.raises(InputError, match="they have currency signs, thousands separators") as error:
        facts_of(values).settle()
    assert "write numbers as -1234.56" in error.value.hints[0]


@pytest.mark.slow
def test_more_different_numbers_than_there_can_be_classes_are_a_quantity() -> None:
    numbers: list[str | float | None] = [str(n) for n in range(MAX_CLASSES + 1)]
    codes: list[str | float | None] = [f"c{n}" for n in range(MAX_CLASSES + 1)]

    facts = facts_of(numbers, [None, "7"], drops=True)
    assert facts.settle() == "regression"
    assert "has more than 10,000 different numbers" in facts.notes()[-1]
    with pytest.raises(InputError, match="has more than 10000 different values"):
        facts_of(codes)
    with pytest.raises(InputError, match="has more than 10000 different values"):
        facts_of(numbers, kept=True)


def test_numbers_may_have_a_decimal_comma() -> None:
    facts = TargetFacts("y", is_csv=True)
    facts.see(pa.table({"y": [f"{n},5" for n in range(90)]}), "d.csv")

    assert facts.settle(",") == "regression"
    assert facts.task(".") == "classification"
    assert facts.forms.decimals.is_comma


def test_classes_that_look_alike_and_classes_of_one_row_are_noted() -> None:
    facts = facts_of(["yes", "no", "Yes ", "no", "yes"])

    alike, single = facts.notes()

    assert "'Yes ' in 1 rows from" in alike
    assert "'yes' in 2 rows from" in alike
    assert "data row 3" in alike
    assert "1 class with a single row, such as" in single


def test_lists_are_several_labels() -> None:
    facts = TargetFacts("y")

    with pytest.raises(
        InputError, match="its values are lists or objects: several labels"
    ) as error:
        facts.see(pa.table({"y": [["a", "b"], ["a"]]}), "d.parquet")
    assert error.value.hints[0].startswith("make a project for each label")
    assert len(error.value.hints) == 1


def test_combinations_can_be_classes_all_the_same() -> None:
    values = ["a;b", "a;c", "b;c", "a;b;c"] * 5
    facts = TargetFacts("y", asked="classification")
    facts.see(pa.table({"y": values}), "d.csv")

    assert facts.settle() == "classification"
    with pytest.raises(InputError, match="several ones with ';' between them") as error:
        facts_of([*values]).settle()
    assert error.value.hints[1] == "--task classification makes each combination a class"
