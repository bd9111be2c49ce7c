"""What the page says of a regression's quality."""

from unlearn.cli.verify_text import _utility
from unlearn.stages.report.number_quality import (
    is_of_numbers,
    number_headline,
    number_measures,
)
from unlearn.stages.verify.measures.utility_change import compare_utility
from unlearn.stages.verify_report.quality import Utility

NOW = Utility(
    rows=1_234, mean_absolute_error=1714.07, root_mean_squared_error=2140.03, r_squared=0.9361
)
FEW = Utility(rows=7, mean_absolute_error=None, root_mean_squared_error=None, r_squared=None)
QUANTILE = NOW.model_copy(update={"quantile": 0.9, "pinball_loss": 12.5})


def test_errors_are_in_the_units_of_the_target() -> None:
    before = NOW.model_copy(update={"mean_absolute_error": 0.25})

    assert number_headline(NOW) == (
        "The predictions of the final model are 1,714 from the target on average, on 1,234 "
        "held-out records."
    )
    measures = {name: (now, was) for name, now, was, _ in number_measures(NOW, before)}
    assert measures == {
        "Mean absolute error": ("1,714", "0.25"),
        "Root mean squared error": ("2,140", "2,140"),
        "R squared": ("0.936", "0.936"),
    }
    assert [was for _, _, was, _ in number_measures(NOW, None)] == [None] * 3
    assert _utility(NOW) == (
        "mean absolute error 1,714.1, root mean squared error 2,140, R squared 0.9361"
    )


def test_a_quantile_has_its_loss() -> None:
    name, now, _, _ = number_measures(QUANTILE, None)[-1]

    assert (name, now) == ("Pinball loss of the quantile 0.9", "12.5")
    assert "pinball loss 12.5" in (_utility(QUANTILE) or "")


def test_few_rows_have_no_measures() -> None:
    assert is_of_numbers(FEW)
    assert not is_of_numbers(Utility(rows=3, accuracy=0.5))
    assert number_measures(FEW, NOW) == ()
    assert "7 held-out records are too few" in number_headline(FEW)
    assert _utility(FEW) is None


def test_a_report_read_from_its_file_is_one_of_numbers() -> None:
    assert is_of_numbers(Utility.read(NOW.model_dump(exclude_unset=True)))


def test_reports_are_compared_by_their_errors() -> None:
    older = NOW.model_copy(update={"mean_absolute_error": 1800.0})

    assert compare_utility(older, NOW).utility == {
        "mean_absolute_error": (1800.0, 1714.07),
        "root_mean_squared_error": (2140.03, 2140.03),
        "r_squared": (0.9361, 0.9361),
    }
    assert list(compare_utility(NOW, QUANTILE).utility)[-1] == "pinball_loss"
    assert "accuracy" in compare_utility(NOW, Utility(rows=3, accuracy=0.5)).utility
