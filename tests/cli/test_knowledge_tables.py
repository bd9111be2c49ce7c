"""What `unlearn verify` shows of language models: a table of rows, or of methods."""

from pathlib import Path
from typing import Any

import pytest
from unlearn.cli import knowledge_tables
from unlearn.cli.canary import plant
from unlearn.cli.verify_answer import Shown
from unlearn.cli.verify_text import describe
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project

from tests.stages.conftest import KEY
from tests.stages.report.samples import (
    TEXT_ATTACKS,
    a_posthoc_report,
    a_report,
    a_text_report,
    read,
)
from tests.stages.verify.text_projects import language_params


def lines(report: dict[str, Any]) -> list[str]:
    found = read(report)
    return describe(Shown(found, found.verdict, found.reasons)).splitlines()


def cells(line: str) -> list[str]:
    return line.split()


def test_forgotten_rows_stand_above_unseen_ones() -> None:
    shown = lines(a_text_report())
    at = next(
        i for i, line in enumerate(shown) if line.startswith("memorisation of the final model")
    )

    assert cells(shown[at + 2]) == [
        "forgotten",
        "40",
        "0.211",
        "0.539",
        "0.034",
        "0.802",
        "1.886",
    ]
    assert cells(shown[at + 3])[:3] == ["unseen", "80", "0.207"]
    assert any("perplexity 1.986, extraction strength 0.207, ROUGE-L 0.787" in s for s in shown)


def test_only_attacks_on_text_are_listed() -> None:
    shown = lines(a_text_report())
    start = next(i for i, line in enumerate(shown) if line.startswith("  attack"))
    listed = [cells(line)[0] for line in shown[start + 1 : start + 1 + len(TEXT_ATTACKS)]]

    assert listed == list(TEXT_ATTACKS)
    assert not any("entropy" in line for line in shown)


def test_methods_stand_below_the_original() -> None:
    shown = lines(a_text_report(posthoc=True))
    at = next(i for i, line in enumerate(shown) if line.startswith("on the forgotten rows"))

    assert cells(shown[at + 2])[:3] == ["(original)", "1.000", "0.207"]
    assert cells(shown[at + 3])[0] == "retrain"
    assert cells(shown[at + 4]) == [
        "npo",
        "0.211",
        "0.207",
        "0.539",
        "0.034",
        "0.802",
        "0.950",
        "1.250",
        "0.200",
        ">",
        "0.310",
        "-",
    ]


def test_a_collapsed_model_is_named_so() -> None:
    report = a_text_report(posthoc=True)
    report["methods"]["npo"]["language"]["collapsed"] = True

    assert any(line.strip().startswith("npo, collapsed ") for line in lines(report))


def test_numbers_that_are_not_there_are_no_errors() -> None:
    report = a_text_report()
    report["language"] = {"forgotten": None, "holdout": None}
    report["utility"]["language"] = None
    assert not any("knows" in line for line in lines(report))
    report["language"] = None
    assert lines(report)
    assert knowledge_tables.of_methods({}, None) == []


def test_a_collapsed_models_perplexity_keeps_the_table_narrow() -> None:
    report = a_text_report()
    report["language"]["forgotten"]["perplexity"] = 1.7976931348623157e308

    assert any("1.8e+308" in line for line in lines(report))


def test_reports_on_classes_say_nothing_of_it() -> None:
    for report in (a_report(), a_posthoc_report()):
        said = "\n".join(lines(report))
        assert "extraction" not in said
        assert "covers" not in said


def test_what_is_covered_is_said_once() -> None:
    exact, approximate = a_text_report(), a_text_report(posthoc=True)

    assert sum("not covered" in line for line in lines(exact)) == 1
    assert sum(line.startswith("covers: ") for line in lines(approximate)) == 1


def test_text_has_no_canaries_to_plant(blank_base: Path, tmp_path: Path) -> None:
    context = Context(Project(tmp_path), language_params(blank_base), KEY)

    with pytest.raises(InputError, match="rows of text have no class"):
        plant(context, 5)
    assert list(tmp_path.iterdir()) == []
