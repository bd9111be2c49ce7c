"""Bad input: exit code 2, one `error:` line, nothing changed on disk.

What the project promises is run as a process; variations on it in this one, which is faster.
"""

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.rows.tokens import DEMO_KEY

from tests.cli.conftest import FRAME, SECRET, refused, unchanged
from tests.conftest import Repo

Change = Callable[[Repo], object]


@dataclass(frozen=True)
class Case:
    """What to spoil, what to run then, and what is said of it."""

    said: str
    command: tuple[str, ...]
    spoil: Change = lambda _repo: None
    stdin: str | None = None


def write(name: str, content: bytes | str) -> Change:
    """Return what writes a file of the project."""
    raw = content.encode() if isinstance(content, str) else content

    def change(repo: Repo) -> None:
        (repo.root / name).write_bytes(raw)

    return change


def dataset(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    """Return what rewrites the dataset."""

    def spoil(repo: Repo) -> None:
        frame = change(FRAME.astype(object).copy())
        frame.to_csv(repo.root / "data/dataset.csv", index=False)

    return spoil


def cell(row: int, column: str, value: object) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[row, column] = value
        return frame

    return dataset(change)


def params(old: str, new: str) -> Change:
    """Return what edits params.yaml as a person would, in its text."""

    def change(repo: Repo) -> None:
        path = repo.root / "params.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


FORGET = ("forget", "--ids", "ids.txt")
SHARD = ("stage", "shard")
_FOREST = params("sklearn.naive_bayes.GaussianNB", "sklearn.ensemble.RandomForestClassifier")


def slices_of_a_forest(repo: Repo) -> None:
    _FOREST(repo)
    repo.set_params(sharding={"slices": 3})


CASES = {
    # ids
    "ids file empty": Case("ids.txt holds no ids", FORGET, write("ids.txt", "")),
    "ids file blank": Case("ids.txt holds no ids", FORGET, write("ids.txt", "\n\r\n\n")),
    "ids file missing": Case("ids.txt does not exist", FORGET),
    "ids file a directory": Case(
        "ids.txt is a directory", FORGET, lambda repo: (repo.root / "ids.txt").mkdir()
    ),
    "ids file not UTF-8": Case("ids.txt is not UTF-8", FORGET, write("ids.txt", b"r0001\n\xff\n")),
    "ids file UTF-16": Case(
        "ids.txt is not UTF-8", FORGET, write("ids.txt", "r0001\n".encode("utf-16"))
    ),
    "ids file with a NUL": Case("holds a NUL byte", FORGET, write("ids.txt", "r0001\n\0\n")),
    "an unknown id": Case(
        "1 of 2 ids is not in the dataset (line 2)", FORGET, write("ids.txt", f"r0001\n{SECRET}\n")
    ),
    "an id like a token": Case(
        "ids.txt, line 2: an id begins with 'u1_'",
        FORGET,
        write("ids.txt", f"r0001\nu1_{SECRET}\n"),
    ),
    "standard input empty": Case("standard input holds no ids", ("forget", "--ids", "-"), stdin=""),
    "no ids at all": Case("no records to forget", ("forget",)),
    "an empty id": Case("--id: an id is missing", ("forget", "--id", "")),
    "an unknown person": Case(
        "names no subject column", ("forget", "--subjects", "-"), stdin="p001\n"
    ),
    "a ticket with a name": Case(
        "--ticket takes one word", ("forget", "--id", "r0001", "--ticket", "Jane Roe")
    ),
    "plan with an unknown id": Case(
        "1 of 1 id is not in the dataset", ("plan", "--ids", "-"), stdin=SECRET
    ),
    # the dataset
    "a missing id": Case("column 'id', data row 8: an id is missing", SHARD, cell(7, "id", None)),
    "a duplicate id": Case("data rows 4 and 8 have the same id", SHARD, cell(7, "id", "r0003")),
    "a dataset id like a token": Case(
        "column 'id', data row 8: an id begins with 'u1_'", SHARD, cell(7, "id", f"u1_{SECRET}")
    ),
    "a column that is not there": Case(
        "data/dataset.csv has no column 'age'",
        SHARD,
        dataset(lambda frame: frame.drop(columns="age")),
    ),
    "no id column": Case(
        "data/dataset.csv has no column 'id'",
        SHARD,
        dataset(lambda frame: frame.drop(columns="id")),
    ),
    "a class not in the list": Case(
        "not listed in schema.yaml under classes (data row 8)",
        SHARD,
        cell(7, "label", SECRET),
    ),
    "a missing class": Case("a class is missing (data row 8)", SHARD, cell(7, "label", None)),
    "a value that is no number": Case(
        "a value is not a number (data row 8)", SHARD, cell(7, "age", SECRET)
    ),
    "a dataset without rows": Case(
        "data/dataset.csv has no rows", SHARD, dataset(lambda frame: frame[:0])
    ),
    "a dataset that is no CSV": Case(
        "1 field, but the header has 6",
        SHARD,
        write("data/dataset.csv", f"id,age,income,member,city,label\n{SECRET}\n"),
    ),
    "no dataset": Case(
        "data/dataset.csv does not exist",
        SHARD,
        lambda repo: (repo.root / "data/dataset.csv").unlink(),
    ),
    # params.yaml
    "a typo": Case(
        "params.yaml: train.epoch: is not a known setting", SHARD, params("  epochs:", "  epoch:")
    ),
    "a wrong type": Case(
        "params.yaml: train.batch: input should be a valid integer",
        ("status",),
        params("batch: 16", "batch: sixteen"),
    ),
    "no shards": Case(
        "shards.yaml: shards",
        ("plan",),
        lambda repo: repo.set_params(sharding={"shards": []}),
    ),
    "0 shards": Case(
        "shards.yaml: shards",
        ("repro",),
        lambda repo: repo.set_params(sharding={"shards": 0}),
    ),
    "more slices than the model can take": Case(
        "sharding.slices is 3, but sklearn.ensemble.RandomForestClassifier",
        ("stage", "train@s000"),
        slices_of_a_forest,
    ),
    "an unknown attack, before the first stage": Case(
        "params.yaml: verify.attack: must be one of confidence, loss",
        SHARD,
        params("attack: lira", "attack: lyra"),
    ),
    "an unknown attack, before training": Case(
        "params.yaml: verify.attack: must be one of confidence, loss",
        ("repro",),
        params("attack: lira", "attack: lyra"),
    ),
    "params no YAML": Case(
        "params.yaml is not readable as YAML (line 3)",
        ("forget", "--id", "r0001"),
        write("params.yaml", f"algorithm: {ALGORITHM}\ntrain: {{\n"),
    ),
    "another algorithm": Case(
        f"asks for algorithm 1; this tool implements {ALGORITHM}",
        ("repro",),
        params(f"algorithm: {ALGORITHM}", "algorithm: 1"),
    ),
    # the forget list and the key
    "a broken line of the list": Case(
        "data/forget_list.txt, line 1: begins like a token but is none",
        ("stage", "forget"),
        write("data/forget_list.txt", "u1_abc\n"),
    ),
    "a list that is no text": Case(
        "data/forget_list.txt is not UTF-8 text",
        ("forget", "--id", "r0001"),
        write("data/forget_list.txt", b"\xff\n"),
    ),
    "no list": Case(
        "data/forget_list.txt is missing",
        ("stage", "forget"),
        lambda repo: (repo.root / "data/forget_list.txt").unlink(),
    ),
    "no key": Case(
        "there is no project key", SHARD, lambda repo: (repo.root / "unlearn.key").unlink()
    ),
    "a wrong key": Case(
        "unlearn.key is not the key of this project", ("repro",), write("unlearn.key", DEMO_KEY)
    ),
    # models
    "a shard model that is a pickle": Case(
        "s000",
        ("stage", "aggregate"),
        write("models/shard_models/s000/model.skops", pickle.dumps({"a": 1})),
    ),
    "a shard model of another shard": Case(
        "models/shard_models/s000 is not the model that its lineage names",
        ("stage", "aggregate"),
        lambda repo: write(
            "models/shard_models/s000/model.skops",
            (repo.root / "models/shard_models/s001/model.skops").read_bytes(),
        )(repo),
    ),
    "a final model that is a pickle": Case(
        "not in the skops format",
        ("predict", "--input", "data/dataset.csv", "--output", "out.csv"),
        write("models/final_model/members/s000/model.skops", pickle.dumps({"a": 1})),
    ),
    # usage
    "an unknown command": Case("No such command 'forgett'", ("forgett",)),
    "an unknown option": Case("No such option: --idz", ("forget", "--idz", "x")),
    "an unknown stage": Case("there is no stage 'shards'", ("stage", "shards")),
    "an unknown shard": Case("shards.yaml names no shard 's007'", ("stage", "train@s007")),
    "an unknown revision": Case("git knows no revision 'nowhere'", ("audit", "nowhere")),
    "three dots": Case("two dots", ("audit", "HEAD...HEAD")),
    "no jobs": Case("Invalid value for '-j'", ("repro", "-j", "0")),
    "no input": Case(
        "nothing.csv does not exist", ("predict", "--input", "nothing.csv", "--output", "o.csv")
    ),
    "an output of no known format": Case(
        "--output o.txt is not one of",
        ("predict", "--input", "data/dataset.csv", "--output", "o.txt"),
    ),
    "an output in no folder": Case(
        "there is no folder", ("predict", "--input", "data/dataset.csv", "--output", "no/o.csv")
    ),
    "init where a project is": Case(
        "a project is in this folder: schema.yaml is there already; nothing was changed",
        ("init", ".", "--dataset", "data/dataset.csv", "--id", "id", "--target", "label"),
    ),
}


#: What the project names as bad input: run as a user would.
PROMISED = {
    "ids file empty",
    "ids file missing",
    "ids file a directory",
    "ids file not UTF-8",
    "ids file with a NUL",
    "an unknown id",
    "an id like a token",
    "a missing id",
    "a duplicate id",
    "a column that is not there",
    "a class not in the list",
    "a typo",
    "a wrong type",
    "0 shards",
    "more slices than the model can take",
    "a shard model that is a pickle",
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named_and_changes_nothing(done: Repo, name: str) -> None:
    case = CASES[name]
    case.spoil(done)

    with unchanged(done.root):
        if name in PROMISED:
            answer = done.unlearn(*case.command, stdin=case.stdin)
        else:
            answer = done.inline(*case.command, stdin=case.stdin or "")

    message = refused(answer)
    assert case.said in message
    assert SECRET not in answer.err


@pytest.mark.parametrize(("option", "named"), [("--base", "a base"), ("--tokens", "--tokens")])
def test_predict_refuses_what_is_of_language_models(done: Repo, option: str, named: str) -> None:
    with unchanged(done.root):
        answer = done.inline(
            "predict", "--input", "data/dataset.csv", "--output", "o.csv", option, "64"
        )

    assert f"{named} is for language models" in refused(answer)


@pytest.mark.slow
def test_an_id_that_is_no_text_is_an_error_too(done: Repo) -> None:
    with unchanged(done.root):
        raw = subprocess.run(
            [sys.executable, "-m", "unlearn.cli", "forget", "--id", b"\xff\xfe"],
            cwd=done.root,
            capture_output=True,
            check=False,
        )

    assert raw.returncode == 2
    assert raw.stderr.startswith(b"error: ")
    assert b"unexpected" not in raw.stderr


@pytest.mark.parametrize(
    "content", ["r0001\r\n\r\nr0002\r\n", "\ufeffr0001\nr0002", "\n\nr0001\n\nr0002\n\n"]
)
def test_harmless_differences_of_an_ids_file_are_accepted(fresh: Repo, content: str) -> None:
    (fresh.root / "ids.txt").write_bytes(content.encode())

    assert fresh.inline("forget", "--ids", "ids.txt", "--json").json["added"] == 2


INIT = ("init", "new", "--dataset", "table.csv", "--id", "id", "--target", "label")

INITS: dict[str, tuple[str, tuple[str, ...], Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "no such file": (
        "nothing.csv does not exist",
        ("init", "new", "--dataset", "nothing.csv", "--id", "id", "--target", "label"),
        lambda frame: frame,
    ),
    "no dataset": (
        "give either --example digits, visits, shapes or authors, or --dataset FILE",
        ("init", "new"),
        pd.DataFrame,
    ),
    "no id": (
        "--dataset needs --id and --target",
        ("init", "new", "--dataset", "table.csv", "--target", "label"),
        lambda frame: frame,
    ),
    "a missing column": (
        "table.csv has no column 'label'",
        INIT,
        lambda frame: frame.drop(columns="label"),
    ),
    "a duplicate id": (
        "table.csv: data rows 1 and 2 have the same id",
        INIT,
        lambda frame: frame.assign(id=["a", "a", *frame["id"][2:]]),
    ),
    "a missing id": (
        "table.csv: column 'id', data row 1: an id is missing",
        INIT,
        lambda frame: frame.assign(id=[None, *frame["id"][1:]]),
    ),
    "an id like a token": (
        "table.csv: column 'id', data row 1: an id begins with 'u1_'",
        INIT,
        lambda frame: frame.assign(id=[f"u1_{SECRET}", *frame["id"][1:]]),
    ),
    "a target of classes or quantities": (
        "column 'label' has 90 different numbers in 90 rows: they can be classes, or a quantity",
        INIT,
        lambda frame: frame.assign(label=[str(n) for n in range(len(frame))]),
    ),
    "several labels of a row": (
        "column 'label': most of its values are several ones with ';' between them: several labels",
        INIT,
        lambda frame: frame.assign(
            label=["red", "red;blue", "blue", "red;green", "blue;green"] * 18
        ),
    ),
    "several targets": (
        "--target names 2 columns: several labels of a row are not supported",
        (*INIT, "--target", "age"),
        lambda frame: frame,
    ),
    "ordered classes": (
        "--task ordinal: ordered classes are not supported: no model here knows their order",
        (*INIT, "--task", "ordinal"),
        lambda frame: frame,
    ),
    "a task that is none": (
        "--task clustering: must be one of classification, regression",
        (*INIT, "--task", "clustering"),
        lambda frame: frame,
    ),
    "an infinite amount": (
        "column 'label': 1 row without a finite number: table.csv, data row 2",
        (*INIT, "--task", "regression"),
        lambda frame: frame.assign(label=["1.5", "inf", *[f"{n}.25" for n in range(88)]]),
    ),
    "a text among amounts": (
        "table.csv, data row 3: column 'label': the value is not a number",
        (*INIT, "--task", "regression"),
        lambda frame: frame.assign(label=["1.5", "2.5", "much", *[f"{n}" for n in range(87)]]),
    ),
    "classes that are no numbers": (
        "table.csv, data row 1: column 'label': the value is not a number",
        (*INIT, "--task", "regression"),
        lambda frame: frame,
    ),
    "numbers that are kept as classes and predicted": (
        "--keep=label makes its numbers classes, and --task regression does not",
        (*INIT, "--task", "regression", "--keep", "label"),
        lambda frame: frame.assign(label=[f"{n}.25" for n in range(len(frame))]),
    ),
    "a classifier for numbers": (
        "sklearn.linear_model.LogisticRegression is not a regressor, and the task is regression",
        (*INIT, "--task", "regression", "--model", "sklearn.linear_model.LogisticRegression"),
        lambda frame: frame.assign(label=[f"{n}.25" for n in range(len(frame))]),
    ),
    "a regressor for classes": (
        "sklearn.linear_model.Ridge is not a classifier, and the target has classes",
        (*INIT, "--model", "sklearn.linear_model.Ridge"),
        lambda frame: frame,
    ),
    "a model of classes for numbers": (
        "train.model: exact_naive_bayes predicts classes, and the task is regression",
        (*INIT, "--task", "regression", "--model", "exact_naive_bayes"),
        lambda frame: frame.assign(label=[f"{n}.25" for n in range(len(frame))]),
    ),
    "a row without a class": (
        "column 'label': 1 row without a class",
        INIT,
        lambda frame: frame.assign(label=[None, *frame["label"][1:]]),
    ),
    "no rows": ("table.csv has no rows", INIT, lambda frame: frame[:0]),
    "no features": (
        "has no columns other than id, subject and target",
        INIT,
        lambda frame: frame[["id", "label"]],
    ),
    "the same column twice": (
        "id, subject, target and weight must be different columns",
        (*INIT, "--subject", "id"),
        lambda frame: frame,
    ),
    "no shards": ("Invalid value for '--shards'", (*INIT, "--shards", "0"), lambda frame: frame),
    "more slices than the model can take": (
        "sharding.slices is 4, but sklearn.linear_model.LogisticRegression",
        (*INIT, "--slices", "4", "--model", "sklearn.linear_model.LogisticRegression"),
        lambda frame: frame,
    ),
    "no such model": (
        "is neither mlp, nor a class below sklearn.",
        (*INIT, "--model", "forest"),
        lambda frame: frame,
    ),
    "no such classifier": (
        "scikit-learn has no sklearn.linear_model.Nope",
        (*INIT, "--model", "sklearn.linear_model.Nope"),
        lambda frame: frame,
    ),
    "no classifier": (
        "sklearn.utils.Bunch is no estimator",
        (*INIT, "--model", "sklearn.utils.Bunch"),
        lambda frame: frame,
    ),
    "no such module": (
        "there is no net.py",
        (*INIT, "--model", "net.py:build"),
        lambda frame: frame,
    ),
    "a table with options of text": (
        "a dataset of text needs --id, and no --target",
        (*INIT, "--context", "64"),
        lambda frame: frame,
    ),
    "a table with what happens to long text": (
        "a dataset of text needs --id, and no --target",
        (*INIT, "--too-long", "refuse"),
        lambda frame: frame,
    ),
    "a table with a hub's commit": (
        "a dataset of text needs --id, and no --target",
        (*INIT, "--revision", "main"),
        lambda frame: frame,
    ),
    "a table with a size": (
        "--size is only for --example authors",
        (*INIT, "--size", "tiny"),
        lambda frame: frame,
    ),
    "two kinds of held-out rows": (
        "give either --held-out or --holdout",
        (*INIT, "--template", "posthoc", "--held-out", "table.csv", "--holdout", "0.2"),
        lambda frame: frame,
    ),
    "no such CI": ("Invalid value for '--ci'", (*INIT, "--ci", "jenkins"), lambda frame: frame),
}


@pytest.mark.parametrize(("said", "command", "spoil"), INITS.values(), ids=INITS)
def test_init_makes_nothing_of_bad_input(
    tmp_path: Path,
    said: str,
    command: tuple[str, ...],
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    spoil(FRAME.astype(object).copy()).to_csv(tmp_path / "table.csv", index=False)

    with unchanged(tmp_path):
        answer = Repo(tmp_path).inline(*command)

    assert said in refused(answer)
    assert SECRET not in answer.err


#: A quote in row 6 and one in row 13 make one value of what is between them.
STRAY = {5: '"north', 12: 'north"'}
STRAY_QUOTES = "".join(
    f"{1000 + row},{SECRET},{row % 7}.5,{STRAY.get(row, 'south')},c{row % 2}\n" for row in range(40)
)


def test_init_reads_no_rows_as_one_value(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"id,name,x,site,label\n{STRAY_QUOTES}", encoding="utf-8")

    with unchanged(tmp_path):
        answer = Repo(tmp_path).inline(*INIT)

    error = refused(answer)
    assert "table.csv, data row 6 (line 7): a value in quotes has a line end" in error
    assert "--multiline" in answer.err
    assert SECRET not in answer.err


@pytest.mark.parametrize(
    "name", ["dvc.yaml", "params.yaml", "unlearn.key", "data/forget_list.txt", "data/dataset.csv"]
)
def test_init_overwrites_no_file(tmp_path: Path, name: str) -> None:
    FRAME.to_csv(tmp_path / "table.csv", index=False)
    taken = tmp_path / "new" / name
    taken.parent.mkdir(parents=True)
    taken.write_text("mine", encoding="utf-8")

    with unchanged(tmp_path):
        answer = Repo(tmp_path).inline(*INIT)

    assert f"{name} is there already; nothing was changed" in refused(answer)


EXAMPLES = {
    "digits": ("data/requests", "data/digits.csv"),
    "authors": ("data/authors.jsonl", "data/generic.jsonl", "models/base/mine", "models/base.dvc"),
}


@pytest.mark.parametrize(
    ("example", "name"), [(example, name) for example in EXAMPLES for name in EXAMPLES[example]]
)
def test_an_example_overwrites_no_file(tmp_path: Path, example: str, name: str) -> None:
    taken = tmp_path / "new" / name
    taken.parent.mkdir(parents=True)
    taken.write_text("mine", encoding="utf-8")

    with unchanged(tmp_path):
        answer = Repo(tmp_path).inline("init", "new", "--example", example, "--template", "posthoc")

    assert f"{name.removesuffix('/mine')} is there already; nothing was changed" in refused(answer)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize(
    "options",
    [
        *(("--base", "b"), ("--revision", "main"), ("--context", "64"), ("--too-long", "refuse")),
        *(("--prompt", "p"), ("--text", "t"), ("--perturbed", "w"), ("--topic", "t")),
        *(("--id", "id"), ("--target", "label"), ("--subject", "person"), ("--model", "mlp")),
        *(("--shards", "2"), ("--slices", "1"), ("--holdout", "0.2"), ("--epochs", "3")),
        ("--held-out", "table.csv"),
    ],
    ids=lambda options: options[0],
)
def test_an_example_is_as_it_is(tmp_path: Path, example: str, options: tuple[str, ...]) -> None:
    with unchanged(tmp_path):
        answer = Repo(tmp_path).inline("init", "new", "--example", example, *options)

    assert f"--example {example} does not accept {options[0]}" in refused(answer)


def test_digits_have_no_size(tmp_path: Path) -> None:
    with unchanged(tmp_path):
        answer = Repo(tmp_path).inline("init", "new", "--example", "digits", "--size", "tiny")

    assert "--size is only for --example authors" in refused(answer)


@pytest.mark.parametrize(
    "command",
    [
        ("forget", "--id", "r0001"),
        ("plan",),
        ("repro",),
        ("status",),
        ("audit",),
        ("verify",),
        ("predict", "--input", "a.csv", "--output", "b.csv"),
        ("doctor",),
        ("stage", "shard"),
    ],
    ids=lambda command: command[0],
)
def test_outside_a_project_every_command_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    with unchanged(tmp_path):
        answer = Repo(tmp_path).inline(*command)

    assert "this folder is not in an unlearn project" in refused(answer)


def test_outside_a_project_a_process_says_so_too(tmp_path: Path) -> None:
    assert "not in an unlearn project" in refused(Repo(tmp_path).unlearn("status"))
