"""dvc.yaml has to read the files with the schema and the shards: `repro` and `doctor` check it."""

from pathlib import Path

import pytest

from tests.cli.conftest import refused, unchanged
from tests.conftest import Repo, make_frame, make_project

FROM_FILE = "vars:\n  - shards.yaml\n"
NO_FILE = "dvc.yaml does not take the names of shards from shards.yaml"
NO_TRAINING = "dvc.yaml: the stage train does not run for each of shards"
MATRIX = "    matrix:\n      shard: ${shards}\n"

#: Text of dvc.yaml, what replaces it, and the error.
FAULTS = {
    "no variables": (FROM_FILE, "", NO_FILE),
    "shards of its own": (FROM_FILE, "vars:\n  - shards: [s000, s001]\n", NO_FILE),
    "another file": (FROM_FILE, "vars: [fewer.yaml]\n", NO_FILE),
    "another variable of the file": (FROM_FILE, 'vars: ["shards.yaml:more"]\n', NO_FILE),
    "a matrix of its own": (MATRIX, "    matrix:\n      shard: [s000, s001]\n", NO_TRAINING),
    "two variables": (MATRIX, f"{MATRIX}      seed: [1, 2]\n", NO_TRAINING),
    "no matrix": (MATRIX, "", NO_TRAINING),
    "no schema for the recipe": (
        "      - schema.yaml\n    params",
        "      - params.yaml\n    params",
        "dvc.yaml does not list schema.yaml as a dependency of recipe",
    ),
    "no schema for the shards": (
        "      - schema.yaml\n      - shards.yaml\n",
        "      - shards.yaml\n",
        "dvc.yaml does not list schema.yaml as a dependency of shard",
    ),
    "no list for the shards": (
        "      - schema.yaml\n      - shards.yaml\n",
        "      - schema.yaml\n",
        "dvc.yaml does not list shards.yaml as a dependency of shard",
    ),
    "no list for the ensemble": (
        "      - shards.yaml\n      - models/shard_models\n",
        "      - models/shard_models\n",
        "dvc.yaml does not list shards.yaml as a dependency of aggregate",
    ),
}


def edit(repo: Repo, before: str, after: str) -> None:
    path = repo.root / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")


def findings(repo: Repo) -> list[str]:
    found = repo.inline("doctor", "--json").json["findings"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_pipeline_that_would_train_other_shards_is_refused(done: Repo, name: str) -> None:
    before, after, error = FAULTS[name]
    edit(done, before, after)

    with unchanged(done.root):
        answer = done.inline("repro")
        stages = [done.inline("stage", stage) for stage in ("recipe", "shard")]
    # Under `dvc repro` as well, which runs these before it trains.
    assert [refused(said) for said in (answer, *stages)] == [error] * 3
    (hint,) = [line for line in answer.err.splitlines() if line.startswith("hint: ")]
    assert findings(done) == [f"{error}; {hint.removeprefix('hint: ')}"]


#: What is taken out of dvc.yaml or set in params.yaml of a post-hoc project, and the error.
YOUNG_FAULTS = {
    "no stage": (
        "    cmd: unlearn stage young\n",
        "    cmd: echo\n",
        True,
        "unlearn.young is true, but dvc.yaml has no stage young",
    ),
    "no setting": (
        "",
        "",
        False,
        "dvc.yaml has the stage young, but unlearn.young is false",
    ),
    "no dependency": (
        "      - models/unlearned/young\n      - data/retain_set\n",
        "      - data/retain_set\n",
        True,
        "dvc.yaml does not list models/unlearned/young as a dependency of unlearn",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", YOUNG_FAULTS)
def test_the_stage_young_and_its_setting_belong_together(name: str, workspace: Path) -> None:
    repo = make_project(workspace / "p", make_frame(60), "--template", "posthoc")
    before, after, has_young, error = YOUNG_FAULTS[name]
    if before:
        edit(repo, before, after)
    repo.set_params(unlearn={"young": has_young, "guard": {"target": "class"}})

    with unchanged(repo.root):
        assert refused(repo.inline("repro")) == error
    assert any(said.startswith(error) for said in findings(repo))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FROM_FILE, "vars: [more.yaml, ./shards.yaml]\n"),
        (FROM_FILE, 'vars: ["shards.yaml:shards"]\n'),
        ("${shards}", "${ shards }"),
    ],
)
def test_other_ways_to_write_the_same_are_accepted(done: Repo, before: str, after: str) -> None:
    (done.root / "more.yaml").write_text("more: 1\n", encoding="ascii")
    edit(done, before, after)

    assert findings(done) == []
    listed = done.dvc("stage", "list", "--name-only").out.split()
    assert [name for name in listed if name.startswith("train@")] == [
        "train@s000",
        "train@s001",
        "train@s002",
    ]


def test_a_pipeline_that_would_run_other_methods_is_refused(compared: Repo) -> None:
    assert not [line for line in findings(compared) if "dvc.yaml" in line]
    edit(compared, "method: ${unlearn.methods}", "method: [retrain]")

    with unchanged(compared.root):
        error = refused(compared.inline("repro"))
    assert error == "dvc.yaml: the stage unlearn does not run for each of unlearn.methods"
    assert any(line.startswith(error) for line in findings(compared))


@pytest.mark.parametrize("name", ["params.yaml", "schema.yaml", "shards.yaml", "dvc.yaml"])
def test_doctor_names_a_file_of_settings_that_git_does_not_have(done: Repo, name: str) -> None:
    done.git("rm", "--cached", "--quiet", name)
    found = [line for line in findings(done) if "does not track" in line]
    assert found == [f"git does not track {name}; `git add` adds it"]

    ignored = done.root / ".gitignore"
    ignored.write_text(f"{ignored.read_text(encoding='utf-8')}/{name}\n", encoding="utf-8")
    assert f"git ignores files that it has to keep: {name}" in findings(done)


def test_doctor_says_nothing_of_git_before_the_first_commit(fresh: Repo) -> None:
    names = ("params.yaml", "schema.yaml", "shards.yaml", "dvc.yaml")
    fresh.git("rm", "--cached", "--quiet", *names)

    assert not [line for line in findings(fresh) if "does not track" in line]


@pytest.mark.parametrize("name", ["schema.yaml", "shards.yaml"])
def test_doctor_names_a_file_whose_line_ends_git_may_change(fresh: Repo, name: str) -> None:
    path = fresh.root / ".gitattributes"
    text = path.read_text(encoding="utf-8")
    assert f"/{name} -text\n" in text
    assert not [line for line in findings(fresh) if "line ends" in line]
    path.write_text(text.replace(f"/{name} -text\n", ""), encoding="utf-8")

    (found,) = [line for line in findings(fresh) if "line ends" in line]
    assert name in found
