"""`unlearn canary`: made-up records beside the dataset, all or nothing."""

import json
import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from unlearn.cli.text_edits import with_dependency, with_setting
from unlearn.stages.errors import InputError
from unlearn.stages.rows.canaries import coin
from unlearn.stages.rows.tokens import Key, Tokenizer, place

from tests.cli.conftest import FRAME, everything, is_token_line, refused, run_all, unchanged
from tests.conftest import Done, Repo, token_of

PATH = "data/canaries.csv"


def key_of(repo: Repo) -> Key:
    return Key((repo.root / "unlearn.key").read_text(encoding="ascii").strip())


def planted(repo: Repo) -> pd.DataFrame:
    return pd.read_csv(repo.root / PATH, dtype=str, keep_default_na=False)


def text(repo: Repo, name: str) -> str:
    return (repo.root / name).read_bytes().decode()


def edit(repo: Repo, name: str, old: str, new: str) -> None:
    """Edit a file as a person would, in its text."""
    before = text(repo, name)
    assert old in before
    (repo.root / name).write_bytes(before.replace(old, new).encode())


def lines_added(before: str, after: str) -> list[str]:
    """Return the lines that came; insist that no other changed."""
    left = before.splitlines(keepends=True)
    added = []
    for line in after.splitlines(keepends=True):
        if left and left[0] == line:
            left.pop(0)
        else:
            added.append(line)
    assert left == []
    return added


def plant(repo: Repo, count: int) -> Done:
    """Plant canaries, and insist that it succeeds."""
    done = repo.inline("canary", "--count", str(count), "--json")
    assert done.code == 0, done.err
    return done


def test_a_file_of_canaries_is_written_tracked_and_named(fresh: Repo) -> None:
    before = everything(fresh.root)
    edit(fresh, "params.yaml", "path: data/dataset.csv", "path: data/dataset.csv  # the rows")
    params, pipeline = text(fresh, "params.yaml"), text(fresh, "dvc.yaml")

    done = plant(fresh, 12)

    table = planted(fresh)
    assert list(table.columns) == ["id", "age", "income", "member", "city", "label"]
    assert len(table) == 12
    assert all(re.fullmatch(r"canary-\d{6}", raw) for raw in table["id"])
    assert set(table["label"]) <= {"c0", "c1", "c2"}
    assert not (table == "").to_numpy().any()
    assert lines_added(params, text(fresh, "params.yaml")) == ["  canaries: data/canaries.csv\n"]
    assert lines_added(pipeline, text(fresh, "dvc.yaml")) == ["      - data/canaries.csv\n"]
    heads = sum(coin(key_of(fresh), token_of(fresh, raw)) for raw in table["id"])
    assert done.json == {
        "schema_version": 1,
        "planted": 12,
        "trained_on": heads,
        "left_out": 12 - heads,
        "total": 12,
        "shards": done.json["shards"],
        "file": PATH,
    }
    changed = {"params.yaml", "dvc.yaml", PATH, f"{PATH}.dvc"}
    after = everything(fresh.root)
    assert {
        name
        for name in after
        if after[name] != before.get(name) and not name.startswith((".git/", ".dvc/cache"))
    } == changed
    new = fresh.git("status", "--porcelain", "--untracked-files=all").split("\n")
    assert {line[3:] for line in new if line} == {"params.yaml", "dvc.yaml", f"{PATH}.dvc"}


def test_canaries_that_the_holdout_would_take_are_passed_over(fresh: Repo) -> None:
    plant(fresh, 40)

    sharding = fresh.params()["sharding"]
    count, holdout = len(sharding["shards"]), sharding["holdout"]
    numbers = [int(raw.rpartition("-")[2]) for raw in planted(fresh)["id"]]
    tokenizer = Tokenizer(key_of(fresh))
    where = {
        number: place(tokenizer.token("record", f"canary-{number:06d}"), count, 1, holdout)
        for number in range(1, max(numbers) + 1)
    }
    assert numbers == [number for number, at in where.items() if not at.is_holdout]
    assert len(numbers) < len(where)


def test_the_same_project_plants_the_same_canaries_however_often_it_is_asked(
    fresh: Repo, tmp_path: Path
) -> None:
    other = fresh.copy(tmp_path / "other")
    plant(fresh, 9)

    plant(other, 4)
    first = (other.root / PATH).read_bytes()
    params, pipeline = text(other, "params.yaml"), text(other, "dvc.yaml")
    done = plant(other, 5)

    assert (done.json["planted"], done.json["total"]) == (5, 9)
    assert (other.root / PATH).read_bytes() == (fresh.root / PATH).read_bytes()
    assert (other.root / PATH).read_bytes().startswith(first)
    assert (text(other, "params.yaml"), text(other, "dvc.yaml")) == (params, pipeline)


def test_ids_of_the_dataset_and_of_the_forget_list_are_not_given_again(fresh: Repo) -> None:
    plant(fresh, 3)
    gone, *rest = planted(fresh)["id"].tolist()
    frame = FRAME.copy()
    # Behind those that are planted: which numbers they have hangs on the key.
    first = int(rest[-1].removeprefix("canary-")) + 1
    taken = [f"canary-{number:06d}" for number in range(first, first + 35)]
    frame.loc[: len(taken) - 1, "id"] = taken
    frame.to_csv(fresh.root / "data/dataset.csv", index=False)
    fresh.inline("forget", "--id", rest[-1], "--id", gone)
    table = planted(fresh)
    table[table["id"] == rest[0]].to_csv(fresh.root / PATH, index=False)

    plant(fresh, 4)

    ids = planted(fresh)["id"].tolist()
    assert len(set(ids)) == 5
    assert not {gone, rest[-1], *taken}.intersection(ids)


def test_every_canary_is_a_person_of_its_own(people: Repo) -> None:
    done = plant(people, 6)

    table = planted(people)
    assert (table["person"] == table["id"]).all()
    assert done.json["total"] == 6
    subjects = [token_of(people, raw, "subject") for raw in table["id"]]
    assert not any(place(token, 2, 1, 0.2).is_holdout for token in subjects)


@pytest.mark.slow
def test_canaries_go_through_the_pipeline_and_can_be_forgotten(done: Repo) -> None:
    # So many that none of the three shards goes without, whatever the key.
    plant(done, 64)
    ids = planted(done)["id"].tolist()
    stale = done.inline("verify", "--json").json
    assert stale["verdict"] == "stale"
    assert "the planted canaries have changed" in " ".join(stale["reasons"])
    plan = done.inline("plan", "--json").json
    assert plan["shards"] == ["s000", "s001", "s002"]
    run_all(done)
    assert done.inline("verify", "--json").json["verdict"] == "pass"
    audit = done.inline("audit", "HEAD~1..HEAD", "--json").json
    assert audit["verdict"] == "consistent"
    assert set(map(tuple, audit["reasons"].values())) == {("the planted canaries changed",)}

    asked = done.ok("forget", "--ids", "-", "--json", stdin="\n".join(ids))

    heads = {raw for raw in ids if coin(key_of(done), token_of(done, raw))}
    assert 0 < len(heads) < 64
    assert (asked.json["added"], asked.json["unknown"]) == (64, 0)
    lines = text(done, "data/forget_list.txt").splitlines()
    assert sum(is_token_line(line) for line in lines) == len(heads)
    assert sum(line.endswith(".left-out") for line in lines) == 64 - len(heads)
    assert done.inline("plan", "--json").json["records"] == len(heads)
    run_all(done)
    assert done.inline("verify", "--json").json["verdict"] == "pass"
    assert done.inline("audit", "HEAD~1..HEAD", "--json").json["verdict"] == "consistent"
    assert done.inline("status", "--json").json["pending"] == 0
    findings = done.inline("doctor", "--json").json["findings"]
    assert f"{PATH} still holds canaries that were forgotten" in findings


@pytest.mark.slow
def test_one_left_out_canary_changes_no_shard(done: Repo) -> None:
    plant(done, 16)
    run_all(done)
    ids = planted(done)["id"]
    tail = next(raw for raw in ids if not coin(key_of(done), token_of(done, raw)))
    models = done.files("models")

    asked = done.ok("forget", "--id", tail, "--json").json

    assert (asked["added"], asked["shards"]) == (1, [])
    plan = done.inline("plan", "--json").json
    assert (plan["shards"], plan["records"]) == ([], 0)
    assert plan["stages"] == ["forget", "verify"]
    run_all(done)
    assert done.files("models") == models
    assert done.inline("verify", "--json").json["verdict"] == "pass"
    assert done.inline("audit", "HEAD~1..HEAD", "--json").json["verdict"] == "consistent"
    # Whoever has no key reads the mark too.
    (done.root / "unlearn.key").unlink()
    audit = done.inline("audit", "HEAD~1..HEAD", "--json").json
    assert (audit["verdict"], audit["forgotten"], audit["notes"]) == ("consistent", 0, [])


BAD: dict[str, tuple[str, str, str]] = {
    "dataset in one line": (
        "params.yaml: dataset is not written one entry a line",
        "params.yaml",
        "dataset",
    ),
    "dependencies in one line": (
        "dvc.yaml: stages.shard.deps is not written one entry a line",
        "dvc.yaml",
        "deps",
    ),
}


def in_one_line(repo: Repo, name: str, key: str) -> None:
    """Write a part of a YAML file in braces or brackets, which mean the same."""
    value = yaml.safe_load(text(repo, name))
    part = value if key in value else value["stages"]["shard"]
    flow = yaml.safe_dump(part.pop(key), default_flow_style=True, width=10**9).strip()
    part[key] = "HERE"
    written = yaml.safe_dump(value, sort_keys=False).replace("HERE", flow)
    (repo.root / name).write_text(written, encoding="utf-8")


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_added_to_is_left_alone(fresh: Repo, case: str) -> None:
    said, name, key = BAD[case]
    in_one_line(fresh, name, key)

    with unchanged(fresh.root):
        answer = fresh.inline("canary", "--count", "3")

    assert refused(answer).startswith(said)
    assert "hint: add `" in answer.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("--count", "0"), "Invalid value for '--count'"),
        (("--count", "-3"), "Invalid value for '--count'"),
        (("--count", "many"), "Invalid value for '--count'"),
        ((), "Missing option '--count'"),
    ],
)
def test_a_count_that_is_none_is_refused(fresh: Repo, command: tuple[str, ...], said: str) -> None:
    with unchanged(fresh.root):
        answer = fresh.inline("canary", *command)

    assert refused(answer).startswith(said)


def test_outside_a_project_there_is_nothing_to_plant_in(tmp_path: Path) -> None:
    answer = Repo(tmp_path).inline("canary", "--count", "3")

    assert refused(answer).startswith("this folder is not in an unlearn project")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_cannot_be_read_is_named(fresh: Repo) -> None:
    dataset = fresh.root / "data/dataset.csv"
    good = dataset.read_bytes()
    dataset.unlink()
    with unchanged(fresh.root):
        answer = fresh.inline("canary", "--count", "3")
    assert refused(answer) == "data/dataset.csv does not exist"

    dataset.write_bytes(good.replace(b"\nr0007,", b"\nr0007,x"))
    with unchanged(fresh.root):
        answer = fresh.inline("canary", "--count", "3")
    assert refused(answer) == (
        "data/dataset.csv: column 'age' is numeric: a value is not a number (data row 8)"
    )

    dataset.write_bytes(good.partition(b"\n")[0] + b"\n")
    with unchanged(fresh.root):
        answer = fresh.inline("canary", "--count", "3")
    assert refused(answer) == "data/dataset.csv has no rows"


def test_a_file_in_the_way_is_not_overwritten(fresh: Repo) -> None:
    (fresh.root / PATH).write_text("mine\n", encoding="utf-8")

    with unchanged(fresh.root):
        answer = fresh.inline("canary", "--count", "3")

    assert refused(answer).startswith(f"{PATH} is there already, but params.yaml does not name it")


def test_canaries_of_another_schema_are_not_added_to(fresh: Repo) -> None:
    plant(fresh, 3)
    features = fresh.params()["dataset"]["features"]
    del features["city"]
    fresh.set_params(dataset={"features": features, "categories": {}})

    with unchanged(fresh.root):
        answer = fresh.inline("canary", "--count", "3")

    assert refused(answer).startswith(f"{PATH} does not have the columns that the settings name")


def test_a_dvc_that_fails_leaves_everything_as_it_was(fresh: Repo) -> None:
    # DVC refuses to track what git has.
    plant(fresh, 2)
    (fresh.root / f"{PATH}.dvc").unlink()
    fresh.git("add", "--force", PATH)

    with unchanged(fresh.root):
        answer = fresh.unlearn("canary", "--count", "3")

    assert answer.code == 3
    assert "error: `dvc add data/canaries.csv` failed" in answer.err


def test_a_first_planting_that_dvc_refuses_leaves_nothing(fresh: Repo) -> None:
    # A folder in the place of what DVC would write.
    (fresh.root / f"{PATH}.dvc").mkdir()

    with unchanged(fresh.root):
        answer = fresh.unlearn("canary", "--count", "3")

    assert answer.code == 3
    assert not (fresh.root / PATH).exists()


def test_a_pipeline_that_does_not_depend_on_its_canaries_is_stopped(fresh: Repo) -> None:
    plant(fresh, 3)
    edit(fresh, "dvc.yaml", "      - data/canaries.csv\n", "")

    for command in (("stage", "shard"), ("repro",)):
        with unchanged(fresh.root):
            answer = fresh.inline(*command)
        assert refused(answer).startswith("dataset.canaries names data/canaries.csv, but dvc.yaml")

    # Planting again puts it back.
    plant(fresh, 1)
    assert "      - data/canaries.csv\n" in text(fresh, "dvc.yaml")


@pytest.mark.slow
def test_planting_waits_for_a_stage_that_reads_params(fresh: Repo) -> None:
    folder = fresh.root / ".dvc/tmp"
    folder.mkdir(exist_ok=True)
    note = {"read": {str(fresh.root / "params.yaml"): [{"pid": os.getpid(), "cmd": "a stage"}]}}
    (folder / "rwlock").write_text(json.dumps(note), encoding="utf-8")
    run = fresh.start("canary", "--count", "3")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(4)
        assert not (fresh.root / PATH).exists()
        (folder / "rwlock").unlink()
        assert run.wait(60) == 0
    finally:
        run.kill()
        run.communicate()
    assert len(planted(fresh)) == 3


PARAMS = """\
# first
dataset:
    path: data/a.csv   # where

    # who
    id: id
train: {model: mlp}
"""


def test_a_setting_goes_below_another_and_changes_no_other_character() -> None:
    after = with_setting(PARAMS, "dataset", "canaries", PATH, after="path")

    assert lines_added(PARAMS, after) == [f"    canaries: {PATH}\n"]
    assert after.index("canaries") < after.index("# who")
    windows = PARAMS.replace("\n", "\r\n")
    assert with_setting(windows, "dataset", "canaries", PATH, after="path") == after.replace(
        "\n", "\r\n"
    )


@pytest.mark.parametrize("value", ["null", "~", "", "  null   # none yet"])
def test_a_setting_that_is_null_gets_its_value(value: str) -> None:
    before = PARAMS.replace("    # who\n", f"    canaries: {value}\n")

    after = with_setting(before, "dataset", "canaries", PATH, after="path")

    expected = yaml.safe_load(before)
    expected["dataset"]["canaries"] = PATH
    assert yaml.safe_load(after) == expected
    assert ("# none yet" in after) == ("# none yet" in before)


@pytest.mark.parametrize(
    "broken",
    [
        "dataset: {path: data/a.csv, id: id}\n",
        "all: &all {path: a}\ndataset: *all\n",
        "all: &all\n  path: a\ndataset: *all\n",
        "dataset:\n  id: id\n",
    ],
)
def test_a_section_that_is_no_block_is_refused(broken: str) -> None:
    with pytest.raises(InputError, match="params.yaml: dataset is not written one entry a line"):
        with_setting(broken, "dataset", "canaries", PATH, after="path")


def test_a_dependency_goes_last_and_a_missing_line_end_is_no_matter() -> None:
    pipeline = "stages:\n  shard:\n    deps:\n    - ${dataset.path}  # rows"

    after = with_dependency(pipeline, "shard", PATH)

    assert after == f"{pipeline}\n    - {PATH}\n"


@pytest.mark.parametrize(
    "broken",
    [
        "stages:\n  shard:\n    deps: ['${dataset.path}']\n",
        "stages:\n  shard:\n    deps: []\n",
        "stages:\n  shard:\n    cmd: x\n",
        "stages:\n  forget:\n    cmd: x\n",
        "stages:\n  forget:\n    deps: &d\n    - a\n  shard:\n    deps: *d\n",
    ],
)
def test_dependencies_that_are_no_block_are_refused(broken: str) -> None:
    with pytest.raises(InputError, match="dvc.yaml: stages.shard.deps is not written one"):
        with_dependency(broken, "shard", PATH)


def test_help_says_what_it_does(fresh: Repo) -> None:
    done = fresh.unlearn("canary", "--help")

    assert done.code == 0
    assert "keyed fair coin" in " ".join(done.out.split())
