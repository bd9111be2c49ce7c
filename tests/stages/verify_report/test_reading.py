"""Reports of every kind are read back as they were written; old and damaged ones as they can be."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.verify_report.membership import AttackResult, Membership
from unlearn.stages.verify_report.methods import MethodResult, ModelKnowledge
from unlearn.stages.verify_report.quality import ClassUtility, Utility
from unlearn.stages.verify_report.reading import parse_report, read_report
from unlearn.stages.verify_report.report import SCHEMA_VERSION, Report

from tests.stages.verify_report.reports import (
    an_old_posthoc_report,
    an_old_report,
    an_old_text_report,
)

OLD = {
    ("exact", "tabular"): an_old_report(),
    ("exact", "text"): an_old_text_report(),
    ("posthoc", "tabular"): an_old_posthoc_report(),
    ("posthoc", "text"): an_old_posthoc_report(of_text=True),
}


def read(value: Any) -> Report:
    return parse_report(json.dumps(value).encode())


@pytest.mark.parametrize(("kind", "modality"), OLD)
def test_an_old_report_is_read_whole_and_its_kind_inferred(kind: str, modality: str) -> None:
    old = OLD[kind, modality]
    found = read(old)

    assert (found.kind, found.modality, found.schema_version) == (kind, modality, 1)
    assert found.as_json() == old | {"kind": kind, "modality": modality}


@pytest.mark.parametrize("old", OLD.values())
def test_what_a_report_says_of_itself_is_not_inferred(old: dict[str, Any]) -> None:
    found = read(old | {"kind": "posthoc", "modality": "text"})

    assert (found.kind, found.modality) == ("posthoc", "text")


@pytest.mark.parametrize("old", OLD.values())
def test_any_part_may_be_missing_but_those_that_make_it_a_report(old: dict[str, Any]) -> None:
    necessary = {"verdict", "exactness", "utility", "membership", "forget_list"}
    for name in old:
        rest = {key: value for key, value in old.items() if key != name}
        if name in necessary:
            with pytest.raises(InputError, match="is not a report of this tool"):
                read(rest)
        else:
            read(rest)


def test_a_report_with_nothing_in_it_says_that_nothing_is_known() -> None:
    found = read(
        {"verdict": "pass", "exactness": {}, "utility": {}, "membership": None, "forget_list": {}}
    )

    assert found.verdict == "pass"
    assert (found.membership, found.canaries, found.label) == (None, None, None)
    assert found.utility.accuracy is None
    assert found.exactness.lineage_clean is None
    assert (found.reasons, found.models, found.methods) == ((), {}, {})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"{}",
        b'"pass"',
        json_bytes(an_old_report() | {"schema_version": "two"}),
        json_bytes(an_old_report() | {"schema_version": True}),
        json_bytes(an_old_report() | {"schema_version": 0}),
        json_bytes(an_old_report() | {"schema_version": 1.5}),
        json_bytes(an_old_report())[:-40],
    ],
)
def test_a_damaged_file_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(InputError) as raised:
        parse_report(content)

    assert raised.value.message == "reports/verify.json is not a report of this tool"


def test_a_report_of_a_newer_format_is_refused() -> None:
    with pytest.raises(InputError) as raised:
        parse_report(json_bytes(an_old_report() | {"schema_version": SCHEMA_VERSION + 1}), "R:v")

    assert raised.value.message == (
        f"R:v has schema_version {SCHEMA_VERSION + 1}, and this version of unlearn reads up to "
        f"{SCHEMA_VERSION}"
    )
    assert raised.value.hints


def test_a_project_without_a_report_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no reports/verify.json yet") as raised:
        read_report(Project(tmp_path))

    assert raised.value.hints == ("`unlearn repro` makes it",)


@pytest.mark.parametrize("wrong", ["high", True, [1], {"value": 1}, math.nan, math.inf])
def test_a_damaged_value_hides_nothing_but_itself(wrong: object) -> None:
    old = an_old_report()
    old["utility"]["accuracy"] = wrong
    old["utility"]["per_class"]["0"]["accuracy"] = wrong
    found = read(old)

    assert found.utility.accuracy is None
    assert found.utility.log_loss == old["utility"]["log_loss"]
    assert found.utility.per_class["0"] == ClassUtility(rows=30, accuracy=None)
    assert found.membership == read(an_old_report()).membership


@pytest.mark.parametrize("wrong", ["high", 7, [1], False])
def test_a_damaged_part_hides_nothing_but_itself(wrong: object) -> None:
    old = an_old_posthoc_report()
    old["methods"]["finetune"] = wrong
    old["membership"]["attacks"]["loss"] = wrong
    old["exactness"] = wrong
    old["models"] = wrong
    found = read(old)

    assert found.methods["finetune"] == MethodResult()
    assert found.methods["retrain"] == read(an_old_posthoc_report()).methods["retrain"]
    assert found.membership is not None
    assert found.membership.attacks["loss"] == AttackResult()
    assert found.membership.attacks["lira"].auc == 0.5
    assert found.exactness.problems is None
    assert found.models == {}


@pytest.mark.parametrize("verdict", ["nonsense", 7, None, ["pass"], "PASS"])
def test_a_verdict_that_is_none_settles_nothing(verdict: object) -> None:
    old = an_old_posthoc_report()
    old["methods"]["finetune"]["verdict"] = verdict
    found = read(old | {"verdict": verdict})

    assert found.verdict == found.methods["finetune"].verdict == "inconclusive"


def test_whoever_writes_a_report_is_told_of_a_wrong_value() -> None:
    for wrong in ("high", math.nan, True):
        with pytest.raises(ValidationError):
            Utility(accuracy=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Utility.model_validate({"per_class": [1]})
    with pytest.raises(ValidationError):
        Report.model_validate(an_old_report() | {"kind": "both", "modality": "text"})


def test_a_field_of_some_reports_is_written_only_where_it_was_set() -> None:
    assert "language" not in Utility(rows=1).as_json()
    assert Utility(rows=1, language=None).as_json()["language"] is None
    assert "difference_from_retrain" not in Membership().as_json()
    assert "collapsed" not in ModelKnowledge().as_json()
    plain = Report(kind="exact", modality="tabular").as_json()
    assert not plain.keys() & {"covers", "language", "deploy", "methods", "original"}


shares = st.floats(0, 1).map(lambda value: round(value, 6)) | st.none()
intervals = st.tuples(*[st.floats(0, 1).map(lambda value: round(value, 6))] * 2) | st.none()
counts = st.integers(0, 2**53)
sentences = st.lists(st.text(), max_size=3).map(tuple)
attacks = st.builds(AttackResult, auc=shares, ci=intervals, forget_rows=counts)
memberships = st.builds(
    Membership,
    auc=shares,
    attack=st.text(),
    verdict=st.sampled_from(["pass", "fail", "inconclusive"]),
    reasons=sentences,
    attacks=st.dictionaries(st.text(), attacks, max_size=3),
)
methods = st.builds(
    MethodResult,
    label=st.text(),
    reasons=sentences,
    forget_accuracy=shares,
    membership=memberships | st.none(),
    passes=st.dictionaries(st.sampled_from(["forget", "retain"]), st.integers(0, 9).map(float)),
    facts=st.dictionaries(st.text(), st.booleans() | counts | st.none() | st.text(), max_size=3),
)
reports = st.builds(
    Report,
    kind=st.sampled_from(["exact", "posthoc"]),
    modality=st.sampled_from(["tabular", "text"]),
    label=st.text(),
    verdict=st.sampled_from(["pass", "fail", "inconclusive"]),
    reasons=sentences,
    covers=st.text(),
    models=st.dictionaries(st.text(), st.text(), max_size=3),
    membership=memberships | st.none(),
    utility=st.builds(Utility, rows=counts, accuracy=shares, log_loss=shares),
    methods=st.dictionaries(st.text(), methods, max_size=2),
    environment=st.dictionaries(st.text(), st.text(), max_size=3),
)


@given(reports)
def test_reading_what_was_written_gives_the_same_report(report: Report) -> None:
    written = json_bytes(report.as_json())
    found = parse_report(written)

    assert found == report
    assert json_bytes(found.as_json()) == written


def test_numbers_are_written_with_six_decimals() -> None:
    written = Utility(accuracy=1 / 3, per_class={"a": ClassUtility(accuracy=2 / 3)}).as_json()

    assert written["accuracy"] == 0.333333
    assert written["per_class"]["a"]["accuracy"] == 0.666667


def test_the_schema_names_every_field_and_what_every_report_has() -> None:
    schema = Report.model_json_schema()

    assert schema["properties"].keys() == Report.model_fields.keys()
    assert set(schema["required"]) == {
        name for name in Report.model_fields if name not in Report.OPTIONAL
    }
    assert schema["properties"]["kind"]["enum"] == ["exact", "posthoc"]
    assert schema["properties"]["modality"]["enum"] == ["tabular", "text"]


def test_reading_a_report_loads_no_numerical_library() -> None:
    heavy = ("torch", "sklearn", "scipy", "pandas", "numpy", "pyarrow")
    script = (
        "import sys; import unlearn.stages.verify_report.reading; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
