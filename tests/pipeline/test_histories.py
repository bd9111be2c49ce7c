"""Any history of requests, in any order, ends where training without those rows would have begun.

The stages run in this process, without DVC: the law is theirs, and many histories can be tried.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.conftest import Repo, fresh_models, places, without_log
from tests.pipeline.conftest import BAYES, FOREST, MLP, SGD, SMALL_ROWS, Shape, changed, without_dvc

ROWS = SMALL_ROWS
SHAPES = {
    "torch": Shape(MLP, 2, 3),
    "sgd": Shape(SGD, 2, 3),
    "bayes": Shape(BAYES, 3, 2),
    "forest": Shape(FOREST, 2, 1),
}

#: What may happen to the files that persist, between two runs.
DAMAGE = st.sampled_from(
    ["none", "delete", "cut", "rotate checkpoints", "no checkpoints", "no sets"]
)

#: An example takes a second, so what fails is reported as it was found, not shrunk.
law = settings(
    max_examples=2,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
records = st.integers(0, ROWS - 1)
requests = st.lists(st.sets(records, min_size=1, max_size=5), min_size=1, max_size=3)


def _ids(rows: set[int] | Sequence[int]) -> list[str]:
    return [f"r{row:04d}" for row in sorted(rows)]


def _damage(repo: Repo, how: str, which: int) -> None:
    """Do something to persisted files that a run may not notice in its results."""
    models = sorted(path for path in (repo.root / "models").rglob("*") if path.is_file())
    one = models[which % len(models)]
    states = [path for path in models if path.parent.name == "checkpoints"]
    if how == "delete":
        one.unlink()
    elif how == "cut":
        one.write_bytes(one.read_bytes()[:-1])
    elif how == "rotate checkpoints":
        # Each of them well-formed, and another slice's or shard's.
        contents = [path.read_bytes() for path in states]
        for path, content in zip(states, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)
    elif how == "no checkpoints":
        for path in states:
            path.unlink()
    elif how == "no sets":
        shutil.rmtree(repo.root / "data/retain_set")
        shutil.rmtree(repo.root / "data/forget_set")


@dataclass(frozen=True)
class History:
    """Requests one after the other, and what happens to persisted files before each run."""

    batches: list[set[int]]
    by: str
    damage: str
    which: int


histories = st.builds(
    History,
    batches=requests,
    by=st.sampled_from(["record", "subject"]),
    damage=DAMAGE,
    which=st.integers(0, 50),
)


def _check_history(
    small: Repo,
    workspace: Path,
    shape: str,
    history: History,
) -> None:
    repo = without_dvc(small, workspace / "project", SHAPES[shape], by=history.by)
    making = repo.stages_of_models()  # `verify` makes no model: it is run at the end
    repo.stages(*making)
    for batch in history.batches:
        words = [word for raw in _ids(batch) for word in ("--id", raw)]
        assert repo.inline("forget", *words).code == 0
        _damage(repo, history.damage, history.which)
        repo.stages(*making)
    repo.stages("verify")

    shutil.rmtree(workspace / "room", ignore_errors=True)
    gone = _ids(set().union(*history.batches))
    assert repo.files("models") == fresh_models(repo, workspace / "room", gone)
    assert repo.report()["verdict"] == "pass"


@pytest.mark.parametrize("shape", ["torch", pytest.param("bayes", marks=pytest.mark.slow)])
@law
@example(history=History([{3, 14, 15}, {9, 26, 53}], "record", "rotate checkpoints", 0))
@given(history=histories)
def test_any_history_ends_with_the_bytes_of_a_clean_room(
    small: Repo, workspace: Path, shape: str, history: History
) -> None:
    _check_history(small, workspace, shape, history)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@settings(law, max_examples=8)
@given(history=histories)
def test_many_histories_end_with_the_bytes_of_a_clean_room(
    small: Repo, workspace: Path, shape: str, history: History
) -> None:
    _check_history(small, workspace, shape, history)


@pytest.mark.slow
@settings(law, max_examples=1)
@given(
    first=st.sets(records, min_size=1, max_size=6), second=st.sets(records, min_size=1, max_size=6)
)
def test_the_order_and_the_grouping_of_requests_change_no_byte(
    small: Repo, workspace: Path, first: set[int], second: set[int]
) -> None:
    ends = []
    for history in ([first, second], [second, first], [first | second]):
        repo = without_dvc(small, workspace / "project", SHAPES["torch"])
        for batch in [set(), *history]:
            words = [word for raw in _ids(batch) for word in ("--id", raw)]
            assert not words or repo.inline("forget", *words).code == 0
            repo.stages("shard", "forget", "train@s000", "train@s001", "aggregate")
        # The log says when each request came; everything else is the same.
        found = repo.snapshot()
        ends.append({name: found[name] for name in without_log(found)})
    assert ends[0] == ends[1] == ends[2]


@law
@given(row=records, change=st.sampled_from(["remove", "label", "number", "category"]))
def test_a_changed_or_removed_record_moves_no_other(
    small: Repo, workspace: Path, row: int, change: str
) -> None:
    repo = without_dvc(small, workspace / "project", SHAPES["torch"])
    repo.stages("shard", "forget", "train@s000", "train@s001")
    before = repo.snapshot()
    raw = f"r{row:04d}"
    home = places(repo)[raw].shard

    path = repo.root / "data/dataset.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{raw},"))
    cells = lines[at].split(",")
    names = lines[0].split(",")
    if change == "label":
        cells[names.index("label")] = "c0" if cells[names.index("label")] != "c0" else "c1"
    elif change == "number":
        cells[names.index("age")] = "123.5"
    elif change == "category":
        cells[names.index("city")] = "Lima" if cells[names.index("city")] != "Lima" else "Oslo"
    lines[at : at + 1] = [] if change == "remove" else [",".join(cells)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    repo.stages("shard", "forget", "train@s000", "train@s001")

    differing = changed(before, repo.snapshot()) - {"data/dataset.csv"}
    own = {f"data/{folder}/{home}.parquet" for folder in ("shards", "retain_set")}
    assert own <= differing
    elsewhere = {
        name
        for name in differing - own - {"data/forget_set/applied.json"}
        if not name.startswith(f"models/shard_models/{home}/")
    }
    assert elsewhere == set()
