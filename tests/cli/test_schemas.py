"""`docs/schemas` is what the code says, and what commands print is what the schemas say."""

import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from unlearn.cli import schemas as module
from unlearn.cli.app import COMMANDS
from unlearn.cli.lazy import declared
from unlearn.cli.schemas import files
from unlearn.stages.project.paths import Project

from tests.cli.conftest import IDS, METHODS
from tests.conftest import Done, Repo, places

FOLDER = Path(__file__).parents[2] / "docs/schemas"


#: It takes a while to make them.
schemas = cache(module.schemas)


def check(done: Done, name: str) -> dict[str, Any]:
    """Insist that an answer is what its schema says; return it."""
    schema = schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(done.json, schema, cls=jsonschema.Draft202012Validator)
    return done.json


def check_report(repo: Repo) -> None:
    """Insist that the files of the report are what their schemas say."""
    project = Project(repo.root)
    for path, name in ((project.report, "verify_report"), (project.verdict, "verdict")):
        jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schemas()[name])


def test_the_folder_is_what_the_code_says() -> None:
    """After a change of an answer: `python -m unlearn.cli.schemas docs/schemas`."""
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}

    assert found == files()


def test_every_command_with_json_has_a_schema_and_no_other() -> None:
    with_json = {
        name.replace(" ", "-")
        for name, entry in COMMANDS.items()
        if "as_json" in inspect.signature(declared(entry).function).parameters
    }

    assert schemas().keys() == with_json | {"error", "verify_report", "verdict"}


def test_every_key_is_described() -> None:
    # A part of the report is described as a whole.
    for name in schemas().keys() - {"verify", "verify_report", "verdict"}:
        schema = schemas()[name]
        for title, part in {name: schema, **schema.get("$defs", {})}.items():
            for key, found in part.get("properties", {}).items():
                assert found.get("description", "").endswith("."), (name, title, key)


def test_another_value_is_refused() -> None:
    schema = schemas()["forget"]
    value = {
        "schema_version": 1,
        "added": 1,
        "already": 0,
        "unknown": 0,
        "suppressed": 0,
        "shards": [],
    }

    jsonschema.validate(value | {"dry_run": False}, schema)
    jsonschema.validate(value | {"dry_run": True, "a key of a newer version": 1}, schema)
    for wrong in (value, value | {"dry_run": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


@pytest.mark.slow
def test_answers_of_a_pipeline_of_shards(done: Repo) -> None:
    where = places(done)
    raw = next(raw for raw in IDS if not where[raw].is_holdout)
    check(done.inline("forget", "--id", raw, "--ticket", "T-1", "--json"), "forget")

    assert check(done.inline("plan", "--json"), "plan")["records"] == 1
    assert check(done.inline("status", "--json"), "status")["requests"][0]["ticket"] == "T-1"
    done.stages()
    done.dvc("commit", "--force", "--quiet")
    assert check(done.inline("audit", "--rerun", "1", "--json"), "audit")["rerun"]["reran"] == 1
    check(done.inline("verify", "--before", "HEAD", "--json"), "verify")
    check_report(done)
    check(done.inline("report", "--json"), "report")
    check(done.inline("doctor", "--json"), "doctor")
    words = ("predict", "--input", "data/dataset.csv", "--output", "o.csv", "--json")
    check(done.inline(*words), "predict")
    check(done.inline("canary", "--count", "2", "--json"), "canary")
    check(done.inline("forget", "--id", "nobody", "--json"), "error")


@pytest.mark.slow
def test_answers_of_a_post_hoc_pipeline(compared: Repo) -> None:
    check(compared.inline("verify", "--json"), "verify")
    check_report(compared)
    assert check(compared.inline("plan", "--json"), "plan")["methods"] == {}
    where = places(compared)
    new = [raw for raw in where if not where[raw].is_holdout][-1]
    check(compared.inline("forget", "--id", new, "--json"), "forget")
    assert check(compared.inline("plan", "--json"), "plan")["methods"].keys() == {"young", *METHODS}
