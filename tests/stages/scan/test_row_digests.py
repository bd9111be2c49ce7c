"""Digests of forgotten rows: searched for while rows are there, and remembered when they go."""

import io
from pathlib import Path

import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.forget_list import parse_forget_list
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.scan.files import FileSearch
from unlearn.stages.scan.patterns import Patterns, Wanted
from unlearn.stages.scan.row_digests import drop_digests, forgotten_digests, remember_digests
from unlearn.stages.train import stage as train_stage

from tests.conftest import make_frame
from tests.stages.conftest import EXACT, make_context, make_params, put_on_list, run_stages

NAIVE_BAYES = {"model": "sklearn.naive_bayes.GaussianNB"}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    params = make_params(shards=2, train=EXACT | {"model": "exact_naive_bayes"})
    context = make_context(tmp_path / "project", make_frame(200), params)
    run_stages(context)
    return context


def tokens(context: Context, shard: str) -> list[str]:
    return record_tokens(read_shard(context.project.retain_file(shard), shard).rows)


def states(context: Context) -> bytes:
    files = sorted(context.project.shard_models.rglob("state.safetensors"))
    assert len(files) == 2
    return b"".join(path.read_bytes() for path in files)


def found(context: Context) -> tuple[str, ...]:
    return forgotten_digests(context, context.read_list())


def test_they_are_in_states_from_before_a_request_and_not_after(context: Context) -> None:
    assert found(context) == ()
    put_on_list(context, tokens(context, "s000")[3], *tokens(context, "s001")[:2])
    digests, before = found(context), states(context)
    assert len(digests) == 3
    assert all(before.count(bytes.fromhex(digest)) == 1 for digest in digests)

    forget_stage.run(context)
    for shard in ("s000", "s001"):
        train_stage.run(context, shard)

    assert found(context) == digests
    assert not any(bytes.fromhex(digest) in states(context) for digest in digests)


def test_a_copy_of_an_old_state_is_found(context: Context, tmp_path: Path) -> None:
    put_on_list(context, tokens(context, "s000")[3])
    wanted = tuple(
        Wanted("digest", bytes.fromhex(digest), is_token=True) for digest in found(context)
    )
    search = FileSearch(Patterns(wanted), tmp_path)
    result = search.search(io.BytesIO(states(context)), "old")
    assert result.found == {"old": {("digest", "as it is"): 1}}


def test_an_erasure_remembers_them_when_the_rows_are_gone(context: Context) -> None:
    put_on_list(context, *tokens(context, "s000")[:2])
    forget_list, digests = context.read_list(), found(context)
    remember_digests(context, forget_list)
    assert context.project.row_digests.stat().st_mode & 0o077 == 0
    for shard in ("s000", "s001"):
        context.project.shard_file(shard).unlink()

    assert found(context) == digests
    remember_digests(context, forget_list)  # the erasure goes on after a kill
    assert found(context) == digests
    drop_digests(context.project)
    assert found(context) == ()
    assert not context.project.row_digests.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"digests": ["x"]}', b'{"digests": 3}'])
def test_a_damaged_file_is_an_error(content: bytes, context: Context) -> None:
    context.project.row_digests.write_bytes(content)
    with pytest.raises(InputError, match=r"row_digests\.json is damaged"):
        found(context)


def test_other_models_have_none(tmp_path: Path) -> None:
    params = make_params(shards=1, train=NAIVE_BAYES)
    context = make_context(tmp_path / "project", make_frame(60), params)
    run_stages(context)
    line = tokens(context, "s000")[0]
    listed = parse_forget_list(line.encode() + b"\n", context.tokenizer, subjects=False)
    assert forgotten_digests(context, listed) == ()
