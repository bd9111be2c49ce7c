"""What a run did to quality: measures side by side, and classes that lost too much."""

import pytest
from unlearn.stages.verify.measures.utility_change import compare_utility
from unlearn.stages.verify_report.quality import ClassUtility, Utility


def utility(accuracy: float | None, rows: int = 100, label: str = "a") -> Utility:
    return Utility(
        accuracy=0.9,
        macro_f1=0.8,
        log_loss=None,
        calibration_error=0.1,
        per_class={label: ClassUtility(rows=rows, accuracy=accuracy)},
    )


def test_measures_stand_side_by_side() -> None:
    older = utility(0.9).model_copy(update={"accuracy": 0.95})
    found = compare_utility(older, utility(0.9))

    assert found.utility["accuracy"] == (0.95, 0.9)
    assert found.utility["log_loss"] == (None, None)
    assert found.classes == ()
    assert found.as_json()["utility"]["accuracy"] == [0.95, 0.9]


@pytest.mark.parametrize(
    ("before", "after", "rows", "named"),
    [
        (0.9, 0.5, 100, True),
        # 8 points of 100 rows are within two standard errors; of 1,000 rows they are not.
        (0.90, 0.82, 100, False),
        (0.90, 0.82, 1000, True),
        (0.5, 0.9, 1000, False),
        (1.0, 0.9, 10, False),
        (None, 0.1, 1000, False),
        (0.9, None, 1000, False),
    ],
)
def test_a_class_is_named_where_it_lost_more_than_chance_takes(
    before: float | None, after: float | None, rows: int, *, named: bool
) -> None:
    found = compare_utility(utility(before, rows), utility(after, rows))

    assert (found.classes != ()) == named


def test_a_class_or_report_that_was_not_there_before_is_passed_over() -> None:
    assert compare_utility(utility(0.9, label="b"), utility(0.1)).classes == ()
    older = compare_utility(Utility(), utility(0.1))
    assert older.utility["accuracy"] == (None, 0.9)
