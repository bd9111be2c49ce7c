"""Text that is about nobody in the dataset: read as the dataset's columns, or refused."""

import json
from pathlib import Path

import pytest
from unlearn.cli.examples.authors import Population, jsonl, make_authors
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.training.generic_text import read_generic

from tests.language_models import FEATURES, language_params, language_train
from tests.stages.conftest import KEY

ROWS = make_authors(2, 1, population=Population.PUBLIC)


def project(base: Path, root: Path, generic: str | None) -> Context:
    unlearn = {"methods": ["npo"], "deploy": "npo", "language": {"generic": generic}}
    params = language_params(language_train(base, "causal_lm"), unlearn=unlearn)
    return Context(Project(root), params, KEY)


def test_generic_rows_are_read_as_the_datasets(blank_base: Path, tmp_path: Path) -> None:
    (tmp_path / "generic.jsonl").write_bytes(jsonl(ROWS))
    found = read_generic(project(blank_base, tmp_path, "generic.jsonl"))

    assert found is not None
    assert found.column_names == list(FEATURES)
    assert found["completion"].to_pylist() == [row.completion for row in ROWS]


def test_no_file_named_is_no_rows(blank_base: Path, tmp_path: Path) -> None:
    assert read_generic(project(blank_base, tmp_path, None)) is None
    params = language_params(language_train(blank_base))
    assert read_generic(Context(Project(tmp_path), params, KEY)) is None


def test_a_missing_or_empty_file_is_refused(blank_base: Path, tmp_path: Path) -> None:
    context = project(blank_base, tmp_path, "generic.jsonl")
    with pytest.raises(InputError, match=r"generic\.jsonl"):
        read_generic(context)
    (tmp_path / "generic.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match=r"generic\.jsonl"):
        read_generic(context)


def test_a_missing_column_or_answer_is_refused(blank_base: Path, tmp_path: Path) -> None:
    context = project(blank_base, tmp_path, "generic.jsonl")
    records = [row.record() for row in ROWS[:3]]
    records[1]["completion"] = " "
    (tmp_path / "generic.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    with pytest.raises(InputError) as caught:
        read_generic(context)
    message = "generic.jsonl: column 'completion': a completion is empty (data row 2)"
    assert caught.value.message.endswith(message)

    for record in records:
        del record["paraphrase"]
    (tmp_path / "generic.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    with pytest.raises(InputError) as caught:
        read_generic(context)
    assert caught.value.message == "generic.jsonl has no column 'paraphrase'"
