"""Which shards are retrained to check, by what, and what comes of it."""

import json
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import unlearn.stages.training.slices as slices_module
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.params import shard_names
from unlearn.stages.context import Context
from unlearn.stages.estimators.formats import SKOPS
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.environment import environment
from unlearn.stages.training.lineage import Lineage, read_lineage, sealed
from unlearn.stages.verify.exactness.checks import (
    check_exactness,
    check_shards,
    derive_rows,
    retrain_shards,
)
from unlearn.stages.verify.exactness.choosing import choose_shards

from tests.stages.conftest import (
    NAIVE_BAYES,
    make_recipe,
    make_rows,
    put,
    put_on_list,
    read_json,
    train_at_once,
)

SHARDS = st.integers(1, 12).map(shard_names)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(SHARDS, DIGESTS, st.integers(0, 15), st.data())
def test_the_choice_takes_as_many_as_asked_and_the_first_ones_first(
    shards: list[str], digest: str, count: int, data: st.DataObject
) -> None:
    first = data.draw(st.sets(st.sampled_from(shards)))

    chosen = choose_shards(shards, digest, count, first=first)

    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(shards)
    assert len(chosen) == min(count, len(shards))
    assert len(first & set(chosen)) == min(count, len(first))


@given(SHARDS, DIGESTS, st.integers(0, 15), st.randoms(use_true_random=False))
def test_the_choice_follows_from_the_list_and_grows_with_the_count(
    shards: list[str], digest: str, count: int, draw: random.Random
) -> None:
    shuffled = list(shards)
    draw.shuffle(shuffled)

    chosen = choose_shards(shards, digest, count)

    assert choose_shards(shuffled, digest, count) == chosen
    assert set(chosen) <= set(choose_shards(shards, digest, count + 1))
    assert choose_shards(shards, digest, "all") == shards


def test_another_list_chooses_other_shards() -> None:
    shards = shard_names(8)
    chosen = {tuple(choose_shards(shards, f"{number:064x}", 2)) for number in range(200)}

    # 28 pairs; that 200 draws leave out more than a few is next to impossible.
    assert len(chosen) > 20


@pytest.fixture
def asked(built: Context) -> Context:
    """Return a project after a request that named rows of every shard."""
    for shard in built.params.sharding.shards:
        rows = read_shard(built.project.shard_file(shard), shard).rows
        put_on_list(built, *record_tokens(rows)[:2])
    forget_stage.run(built)
    for shard in built.params.sharding.shards:
        train_stage.run(built, shard)
    aggregate_stage.run(built)
    verify = built.params.verify.model_copy(update={"rerun": "all"})
    return replace(built, params=built.params.model_copy(update={"verify": verify}))


def test_what_retrains_is_asked_once_for_all_chosen_shards_in_order(asked: Context) -> None:
    calls = []

    def retrain(
        context: Context, forget_list: ForgetList, shards: Sequence[str]
    ) -> Iterable[Lineage]:
        calls.append(list(shards))
        return retrain_shards(context, forget_list, shards)

    forget_list = asked.read_list()
    found = check_exactness(
        asked, forget_list, lambda name: derive_rows(asked, name, forget_list), retrain=retrain
    )

    assert calls == [["s000", "s001", "s002"]]
    assert (found.touched, found.reran, found.matched) == (3, 3, 3)
    assert found.problems == ()


def test_each_shard_is_compared_with_its_own_retraining(asked: Context) -> None:
    """What retrains answers for s001 with a model of s000's rows."""

    def retrain(
        context: Context, forget_list: ForgetList, shards: Sequence[str]
    ) -> Iterable[Lineage]:
        lineages = list(retrain_shards(context, forget_list, shards))
        return [lineages[0], lineages[0], lineages[2]]

    found = check_shards(asked, asked.read_list(), ["s000", "s001", "s002"], retrain=retrain)

    assert (found.reran, found.matched) == (3, 2)
    assert found.problems == ("s001: retraining from its rows gives another model",)


def test_shards_are_checked_without_anything_else_that_the_pipeline_made(asked: Context) -> None:
    project = asked.project
    for folder in (project.retain_set, project.forget_set, project.final_model):
        shutil.rmtree(folder)
    shutil.rmtree(project.shard_models / "s000")
    project.shard_file("s000").unlink()

    found = check_shards(asked, asked.read_list(), ["s001", "s002"])

    assert (found.reran, found.matched, found.problems) == (2, 2, ())


def test_a_line_that_the_models_do_not_honour_is_found(asked: Context) -> None:
    rows = read_shard(asked.project.shard_file("s001"), "s001").rows
    put_on_list(asked, record_tokens(rows)[5])

    found = check_shards(asked, asked.read_list(), ["s000", "s001"])

    assert (found.reran, found.matched) == (2, 1)
    assert [problem.partition(":")[0] for problem in found.problems] == ["s001", "s001"]


def test_a_model_sealed_with_the_key_by_someone_who_cheats_is_found_by_retraining_alone(
    asked: Context,
) -> None:
    """Other weights under digests and a seal that fit: only training again can tell."""
    folder = asked.project.shard_models / "s001"
    forge(asked, folder, "s001")

    honest = check_shards(asked, asked.read_list(), ["s000", "s002"])
    found = check_shards(asked, asked.read_list(), ["s001"])

    assert honest.problems == ()
    assert found.problems == ("s001: retraining from its rows gives another model",)
    assert found.lineage_clean


def forge(context: Context, folder: Path, shard: str) -> None:
    """Put a model of other rows in a folder, and seal it as if it were of the right ones."""
    true = read_lineage(folder)
    assert true is not None
    files = train_at_once(make_recipe(NAIVE_BAYES), make_rows(true.rows, seed=99), shard)
    put(folder, files)
    other = read_lineage(folder)
    assert other is not None
    last = replace(true.slices[-1], state=SKOPS.digest(files["model.skops"]))
    forged = replace(
        true, model=other.model, files=other.files, slices=(*true.slices[:-1], last), seal=""
    )
    (folder / "lineage.json").write_bytes(json_bytes(sealed(context.key, forged).as_json()))


def test_an_edited_name_in_a_lineage_sends_the_check_nowhere_else(asked: Context) -> None:
    path = asked.project.shard_models / "s001/lineage.json"
    value = read_json(path) | {"shard": "../../elsewhere"}
    put(path.parent, {path.name: json.dumps(value).encode()})

    found = check_shards(asked, asked.read_list(), ["s001"])

    assert not found.lineage_clean
    assert (found.reran, found.matched) == (1, 1)


def test_a_shard_of_another_environment_is_left_out_and_the_others_are_checked(
    asked: Context,
) -> None:
    shutil.rmtree(asked.project.shard_models / "s001")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices_module, "environment", lambda of: environment(of) | {"numpy": "1.0"})
        train_stage.run(asked, "s001")

    found = check_shards(asked, asked.read_list(), ["s000", "s001", "s002"])

    assert (found.reran, found.matched, found.problems) == (2, 2, ())
    assert len(found.environment) == 1
    assert "1.0 there" in found.environment[0]
