"""A figure is a number that stands for itself, and not the digits of a name."""

import pytest
from unlearn.stages.verify_report.words import WITHHELD, has_figures, without_figures


@pytest.mark.parametrize(
    "sentence",
    [
        "lira: AUC 0.512 (95 % interval 0.430 to 0.594) on 1,203 forgotten rows",
        "forgotten rows: 7",
        "7 rows",
        "more by +.25",
        "it keeps 83%",
        "residual 1e-05",
        "a loss of -3.",
        "one of (2)",
        "rows=12",
    ],
)
def test_numbers_are_figures(sentence: str) -> None:
    assert has_figures(sentence)
    assert without_figures((sentence, "why", sentence)) == (WITHHELD, "why")


@pytest.mark.parametrize(
    "sentence",
    [
        "s003: retraining from its rows gives another model",
        "models/unlearned/net2.py is missing",
        "train@s000 did not run",
        "the base, Qwen/Qwen2.5-0.5B, is not covered",
        "no shard is touched",
    ],
)
def test_names_are_not(sentence: str) -> None:
    assert without_figures((sentence,)) == (sentence,)
