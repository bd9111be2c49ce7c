"""What two final models of a project give away together: the rows, the attacks and the controls."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.audit.compare import Listed
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.shard_file import read_shard, record_tokens, subject_tokens
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage
from unlearn.stages.verify.difference.measure import measure_difference
from unlearn.stages.verify.difference.rows import rows_between
from unlearn.stages.verify.measures.tabular_model import open_final_model
from unlearn.stages.verify_report.difference import ModelDifference

from tests.conftest import at_chance, make_frame
from tests.stages.conftest import make_context, make_params, put_on_list, run_stages

LOGISTIC: dict[str, Any] = {
    "model": "sklearn.linear_model.LogisticRegression",
    "options": {"C": 100.0, "tol": 1e-8, "max_iter": 2_000},
}
#: Numbers alone, which all shards scale and none encodes by the categories that it has.
NUMBERS = {"age": "numeric", "income": "numeric", "member": "boolean"}
NOTHING = Listed()


@dataclass(frozen=True)
class States:
    """A project before a request and after it was carried out."""

    before: Context
    after: Context
    asked: Listed

    def measure(self, **verify: Any) -> ModelDifference:
        """Attack both final models."""
        after = self.after
        if verify:
            values = after.params.model_dump(mode="json", exclude_none=True)
            params = check_params({**values, "verify": {**values["verify"], **verify}})
            after = replace(after, params=params)
        older, newer = (open_final_model(context) for context in (self.before, after))
        rows = rows_between(after, NOTHING, self.asked)
        return measure_difference(after, older, newer, rows)


def tokens_in(context: Context, shard: str) -> list[str]:
    found: list[str] = record_tokens(read_shard(context.project.shard_file(shard), shard).rows)
    return found


def carried_out(before: Context, root: Path, tokens: list[str]) -> States:
    """Return a project and a copy of it in which rows were forgotten."""
    shutil.copytree(before.project.root, root)
    after = replace(before, project=Project(root))
    put_on_list(after, *tokens)
    forget_stage.run(after)
    for shard in after.params.sharding.shards:
        train_stage.run(after, shard)
    aggregate_stage.run(after)
    return States(before, after, Listed(frozenset(tokens)))


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> States:
    """Labels that follow from nothing: what a model knows of a row, it learned from that row."""
    root = tmp_path_factory.mktemp("linear")
    frame = make_frame(900)
    frame["label"] = np.random.default_rng(5).permutation(frame["label"])
    params = make_params(shards=12, train=LOGISTIC, holdout=0.5, features=NUMBERS)
    before = make_context(root / "before", frame, params)
    run_stages(before)
    # One row of each shard: batches of one, as far as a shard's model goes.
    tokens = [tokens_in(before, shard)[0] for shard in params.sharding.shards]
    return carried_out(before, root / "after", tokens)


@pytest.fixture(scope="module")
def found(linear: States) -> ModelDifference:
    return linear.measure()


def test_rows_that_went_from_linear_models_are_found(found: ModelDifference) -> None:
    attacks = found.shard_models.attacks

    assert list(attacks) == ["logit", "confidence", "loss", "entropy", "modified_entropy"]
    assert list(found.final_model.attacks) == list(attacks)
    for name in ("logit", "loss"):
        attack = attacks[name]
        assert attack.ci is not None
        assert attack.ci[0] > 0.75
        assert attack.older_alone.auc is not None
        assert attack.auc is not None
        assert attack.auc > attack.older_alone.auc + 0.1, "two models tell more than one"
        assert attack.added.ci is not None
        assert attack.added.ci[0] > 0


def test_what_no_request_named_is_not_found(found: ModelDifference) -> None:
    attack = found.shard_models.attacks["loss"]

    for control in (attack.negative_control, attack.stayed, attack.newer_alone):
        assert control.ci is not None
        assert at_chance(control.ci)


def test_a_row_is_computed_from_the_weights(found: ModelDifference) -> None:
    rebuilt = found.reconstruction

    assert rebuilt is not None
    assert rebuilt.shards == 12
    assert rebuilt.ci is not None
    assert rebuilt.ci[0] > 0.7
    assert rebuilt.cosine is not None
    assert rebuilt.cosine_of_others is not None
    assert rebuilt.cosine > 0.9
    assert abs(rebuilt.cosine_of_others) < 0.5


def test_the_counts_are_those_of_the_rows(linear: States, found: ModelDifference) -> None:
    rows = found.rows

    assert (rows.lines, rows.without_rows, rows.went, rows.held_out, rows.shards) == (
        12,
        0,
        12,
        0,
        12,
    )
    held = read_shard(linear.after.project.shard_file(HOLDOUT), HOLDOUT).rows.num_rows
    assert rows.others is not None
    assert 0 < rows.others < held, "the other half calibrates"
    assert found.reasons == ()


@pytest.mark.slow
def test_below_min_rows_there_are_counts_alone(linear: States) -> None:
    found = linear.measure(min_rows=13)

    assert found.reasons == ("rows that went: 12, fewer than verify.min_rows (13): counts only",)
    assert found.final_model.attacks == {}
    assert found.shard_models.attacks == {}
    assert found.reconstruction is None
    assert (found.rows.went, found.rows.others) == (12, None)
    assert linear.measure(min_rows=12).final_model.attacks


def test_no_token_is_in_the_answer(linear: States, found: ModelDifference) -> None:
    text = json.dumps(found.as_json())

    assert not any(token in text for token in linear.asked.tokens)
    assert "u1_" not in text


@pytest.mark.slow
def test_two_measurements_are_the_same(linear: States, found: ModelDifference) -> None:
    assert linear.measure() == found


def test_the_same_model_twice_gives_nothing_away(linear: States) -> None:
    same = replace(linear, after=replace(linear.before, params=linear.after.params)).measure()

    for attacks in (same.final_model.attacks, same.shard_models.attacks):
        assert {attack.auc for attack in attacks.values()} == {0.5}
    assert same.reconstruction is None


@pytest.mark.slow
def test_models_that_are_no_linear_ones_have_no_reconstruction(tmp_path: Path) -> None:
    before = make_context(tmp_path / "before", make_frame(300), make_params(holdout=0.4))
    run_stages(before)
    shards = before.params.sharding.shards
    tokens = [token for shard in shards for token in tokens_in(before, shard)[:5]]

    found = carried_out(before, tmp_path / "after", tokens).measure()

    assert found.reconstruction is None
    assert found.final_model.attacks["loss"].auc is not None
    assert "reconstruction" not in found.as_json()


@pytest.mark.slow
def test_a_shard_that_lost_all_its_rows_is_left_out(tmp_path: Path) -> None:
    before = make_context(tmp_path / "before", make_frame(300), make_params(holdout=0.4))
    run_stages(before)
    first, second, _ = before.params.sharding.shards
    tokens = [*tokens_in(before, first), *tokens_in(before, second)[:12]]

    found = carried_out(before, tmp_path / "after", tokens).measure()

    assert found.rows.went == len(tokens)
    assert found.rows.shards == 2
    assert found.final_model.attacks["loss"].auc is not None
    only = carried_out(before, tmp_path / "only", tokens_in(before, first)).measure()
    assert only.final_model.attacks == {}
    assert only.reasons[0].startswith("the shards of the rows that went have no model left")


def test_models_that_vote_are_not_attacked(tmp_path: Path) -> None:
    ridge = {"model": "sklearn.linear_model.RidgeClassifier"}
    params = make_params(holdout=0.4, train=ridge, rule="majority_vote")
    before = make_context(tmp_path / "before", make_frame(300), params)
    run_stages(before)
    tokens = tokens_in(before, "s000")[:15]

    found = carried_out(before, tmp_path / "after", tokens).measure()

    assert found.final_model.attacks == {}
    assert found.reasons == ("a final model only votes, and a vote has no score to attack",)


def test_rows_that_were_held_out_are_in_neither_model(built: Context) -> None:
    tokens = tokens_in(built, HOLDOUT)[:5]
    rows = rows_between(built, NOTHING, Listed(frozenset(tokens)))

    assert (rows.counts.went, rows.counts.held_out, rows.counts.lines) == (0, 5, 5)
    assert not set(tokens) & set(record_tokens(rows.others))
    model = open_final_model(built)
    found = measure_difference(built, model, model, rows)
    assert found.reasons[0].startswith("no model was trained on the rows that went")


def test_rows_are_sorted_by_both_lists(built: Context) -> None:
    tokens = tokens_in(built, "s000")
    older, newer = Listed(frozenset(tokens[:3])), Listed(frozenset(tokens[1:6]))

    rows = rows_between(built, older, newer)

    assert sorted(record_tokens(rows.went["s000"])) == sorted(tokens[3:6])
    assert rows.came_back == 1
    assert sorted(record_tokens(rows.stayed("s000"))) == sorted(tokens[6:])
    assert rows.counts.lines == 3


@pytest.mark.parametrize("subjects", [0, 60])
def test_what_the_older_model_was_trained_on_is_read_from_its_own_shards(
    tmp_path: Path, subjects: int
) -> None:
    """Rows that came later, that were edited, and that another share of the rows holds out."""
    frame = make_frame(240, subjects=subjects)
    person = "person" if subjects else None
    edited = frame[:180].assign(age=frame["age"][:180] + 1_000)
    older = make_context(tmp_path / "then", edited, make_params(holdout=0.1, subject=person))
    newer = make_context(tmp_path / "now", frame, make_params(holdout=0.3, subject=person))
    for context in (older, newer):
        shard_stage.run(context)
    then = {name: set(tokens_in(older, name)) for name in ("s000", "s001", HOLDOUT)}
    now = {name: set(tokens_in(newer, name)) for name in then}
    asked = now["s000"] | set(sorted(now[HOLDOUT])[::2])
    brought: list[str] = []

    def bring(names: Sequence[str]) -> Project:
        brought.extend(names)
        return older.project

    rows = rows_between(newer, NOTHING, Listed(frozenset(asked)), bring)

    assert brought == ["s000", HOLDOUT], "what is not needed is not fetched"
    assert set(record_tokens(rows.went["s000"])) == now["s000"] & then["s000"]
    assert min(rows.went["s000"]["age"].to_pylist()) > 500, "as the older model saw them"
    assert rows.counts.went == len(now["s000"] & then["s000"]) < len(now["s000"])
    assert rows.counts.held_out == len(asked & now[HOLDOUT] & then[HOLDOUT])
    assert rows.later == len(asked) - rows.counts.went - rows.counts.held_out > 0
    assert set(record_tokens(rows.others)) == (now[HOLDOUT] & then[HOLDOUT]) - asked
    assert now[HOLDOUT] & then["s001"], "rows that are held out now, and were not"
    assert set(record_tokens(rows.stayed("s001"))) == now["s001"] & then["s001"]
    # Without a change of data/shards there is nothing to bring.
    same = rows_between(newer, NOTHING, Listed(frozenset(asked)))
    assert (same.counts.went, same.later) == (len(now["s000"]), 0)


def test_lines_of_persons_and_of_a_persons_record_are_matched(tmp_path: Path) -> None:
    context = make_context(tmp_path / "people", make_frame(90, subjects=20))
    run_stages(context)
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    subjects, records = subject_tokens(rows), record_tokens(rows)
    other = next(n for n, subject in enumerate(subjects) if subject != subjects[0])
    lines = {subjects[0], f"{subjects[other]}.{records[other]}", "u1_" + "0" * 64}

    counts = rows_between(context, NOTHING, Listed(frozenset(lines))).counts

    assert counts.went == subjects.count(subjects[0]) + 1
    assert (counts.lines, counts.without_rows) == (3, 1)


def test_lists_that_are_the_same_and_rows_that_are_gone_are_refused(built: Context) -> None:
    tokens = frozenset(tokens_in(built, "s000")[:2])
    with pytest.raises(InputError, match="no line came onto the forget list"):
        rows_between(built, Listed(tokens), Listed(tokens))
    with pytest.raises(InputError, match="no line came onto the forget list"):
        rows_between(built, Listed(tokens), NOTHING)
    with pytest.raises(InputError, match="none of the 1 new lines .* has rows") as refused:
        rows_between(built, NOTHING, Listed(frozenset({"u1_" + "0" * 64})))
    assert "before `unlearn erase`" in refused.value.hints[0]
