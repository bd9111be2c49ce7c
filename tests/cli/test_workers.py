"""Shards retrained side by side: the same lineages, in order, whatever becomes of a process."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.cli.workers import retrain_side_by_side
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.verify.exactness.checks import retrain_shards

from tests.conftest import make_frame
from tests.forked_python import forked_workers
from tests.stages.conftest import make_context, make_params

#: A user's own torch module that says who ran it, and does what a file beside it says.
NET = """\
import os
import signal
from pathlib import Path

from torch import nn

_HERE = Path(__file__).resolve().parent


def build(inputs, classes):
    with (_HERE / "pids").open("a") as handle:
        handle.write(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\\n")
    if (_HERE / "die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return nn.Linear(inputs, classes)
"""


@pytest.fixture(autouse=True, scope="module")
def _forked_workers() -> Iterator[None]:
    with forked_workers():
        yield


@pytest.fixture
def own_code(tmp_path: Path) -> Context:
    """Return a project with data/shards and a user's own module, and nothing that comes after."""
    train = {"model": "net.py:build", "epochs": 2, "batch": 8, "device": "cpu"}
    context = make_context(tmp_path / "project", make_frame(60), make_params(train=train))
    (context.project.root / "net.py").write_text(NET, encoding="utf-8")
    shard_stage.run(context)
    return context


@pytest.fixture
def plain(tmp_path: Path) -> Context:
    """Return a scikit-learn project with data/shards, and nothing that comes after."""
    context = make_context(tmp_path / "project", make_frame(60))
    shard_stage.run(context)
    return context


def who_trained(context: Context) -> list[tuple[int, str]]:
    lines = (context.project.root / "pids").read_text(encoding="utf-8").splitlines()
    return [(int(pid), threads) for pid, threads in map(str.split, lines)]


@pytest.mark.parametrize(
    ("processors", "shards"),
    [(2, ["s002", "s000"]), pytest.param(8, ["s002", "s001"], marks=pytest.mark.slow)],
)
def test_several_shards_are_retrained_in_other_processes_and_come_out_in_order(
    own_code: Context, monkeypatch: pytest.MonkeyPatch, processors: int, shards: list[str]
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    forget_list = own_code.read_list()

    found = retrain_side_by_side(own_code, forget_list, shards)

    trained = who_trained(own_code)
    assert [lineage.shard for lineage in found] == shards
    assert os.getpid() not in {pid for pid, _ in trained}
    assert {threads for _, threads in trained} == {"1"}
    assert 1 <= len({pid for pid, _ in trained}) <= min(processors, len(shards))
    assert found == list(retrain_shards(own_code, forget_list, shards))


@pytest.mark.parametrize(("processors", "shards"), [(1, ["s000", "s001"]), (8, ["s001"])])
def test_one_processor_or_one_shard_needs_no_other_process(
    own_code: Context, monkeypatch: pytest.MonkeyPatch, processors: int, shards: list[str]
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)

    found = retrain_side_by_side(own_code, own_code.read_list(), shards)

    assert [lineage.shard for lineage in found] == shards
    assert {pid for pid, _ in who_trained(own_code)} == {os.getpid()}


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_that_says_so(
    own_code: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (own_code.project.root / "die").touch()

    with pytest.raises(ToolError, match="a training process died") as caught:
        retrain_side_by_side(own_code, own_code.read_list(), ["s000", "s001"])

    assert "retrain fewer shards at a time" in caught.value.hints[0]


@pytest.mark.slow
def test_what_a_training_raises_comes_through_with_its_hints(
    plain: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    shards, forget_list = ["s000", "s001"], plain.read_list()
    for shard in shards:
        plain.project.shard_file(shard).unlink()

    with pytest.raises(InputError, match=r"data/shards/s00\d.parquet is missing") as caught:
        retrain_side_by_side(plain, forget_list, shards)

    assert caught.value.hints == ("`unlearn repro` makes it",)


@pytest.mark.slow
def test_rows_are_left_out_by_the_list_that_was_read_not_by_the_one_that_stands(
    plain: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    shards, forget_list = ["s000", "s001"], plain.read_list()
    before = list(retrain_shards(plain, forget_list, shards))
    plain.project.forget_list.write_text("r0001\nr0002\nr0003\nr0004\nr0005\n", encoding="ascii")
    # Nor by settings that were edited meanwhile.
    plain.project.params.write_text("nonsense: true\n", encoding="ascii")

    assert retrain_side_by_side(plain, forget_list, shards) == before
    changed = replace(forget_list, tokens=plain.read_list().tokens)
    assert retrain_side_by_side(plain, changed, shards) != before
