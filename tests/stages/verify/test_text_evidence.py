"""What `verify` says of adapters that a person's rows were taken out of, or were not."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.audit.compare import Listed
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import load_language_model, open_language_models
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.shard_file import read_shard, subject_tokens
from unlearn.stages.text import base, metrics
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.verify.difference.measure import measure_difference
from unlearn.stages.verify.difference.rows import rows_between
from unlearn.stages.verify.evidence import Evidence, gather
from unlearn.stages.verify.exactness import recheck
from unlearn.stages.verify.exactness.checks import derive_rows
from unlearn.stages.verify.measures.text_model import TextModel
from unlearn.stages.verify.membership.references import train_references
from unlearn.stages.verify.membership.row_scores import logit_of_logs
from unlearn.stages.verify.membership.views import of_final_model

from tests.conftest import at_chance
from tests.language_models import made_once
from tests.stages.conftest import KEY, run_stages
from tests.stages.verify.reports import run
from tests.stages.verify.text_projects import (
    authors_in,
    forget_authors,
    language_context,
    language_params,
    texts_of,
)

#: The adapters of the module take ten seconds to train.
pytestmark = pytest.mark.slow

AUTHORS = 20
TEXT_ATTACKS = ["loss", "zlib", "min_k", "min_k_plus_plus", "lira", "rmia"]


def open_model(context: Context) -> LanguageEnsemble:
    return load_language_model(context.project.final_model, context.project.root)


def opened(
    context: Context, *shards: str, rule: AggregationRule = "mean_log_probability"
) -> LanguageEnsemble:
    """Open some of the shard models as one."""
    folder = context.project.shard_models
    models = [(name, read_shard_model(folder / name, name)) for name in shards]
    return open_language_models(models, context.params.dataset, rule, context.project.root)


def fullest(context: Context) -> str:
    """Return the shard that has most authors."""
    return max(context.params.sharding.shards, key=lambda name: len(authors_in(context, name)))


def holdout_of(context: Context) -> pa.Table:
    return derive_rows(context, HOLDOUT, context.read_list()).retain


def evidence(context: Context) -> Evidence:
    """Attack the models as they stand with the list as it stands."""
    listed = context.read_list()
    rows = {name: derive_rows(context, name, listed) for name in context.params.sharding.shards}
    forgotten = {name: found.forget for name, found in rows.items()}
    holdout = holdout_of(context)
    model = TextModel(open_model(context))
    return gather(context, model, forgotten, lambda name: rows[name].retain, holdout)


def honour(context: Context) -> None:
    forget_stage.run(context)
    for shard in context.params.sharding.shards:
        train_stage.run(context, shard)
    aggregate_stage.run(context)


@dataclass(frozen=True)
class Tuned:
    """A project whose adapters know their authors, one of each shard on the list: two states.

    Parameters
    ----------
    before
        The list was not applied: every adapter still has its rows.
    after
        It was.
    """

    before: Context
    after: Context


@pytest.fixture(scope="session")
def tuned(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    params = language_params(tiny_base, shards=4, holdout=0.35)

    def make(root: Path) -> None:
        before = language_context(root / "before", tiny_base, params, authors=AUTHORS)
        run_stages(before)
        forget_authors(before, *(authors_in(before, name)[0] for name in params.sharding.shards))
        shutil.copytree(before.project.root, root / "after")
        honour(replace(before, project=Project(root / "after")))

    root = made_once(tmp_path_factory, "adapters", make)
    before, after = (Context(Project(root / name), params, KEY) for name in ("before", "after"))
    return Tuned(before, after)


@pytest.fixture(scope="session")
def attacked(tuned: Tuned) -> tuple[Evidence, Evidence]:
    """Return the evidence on the models before and after the list was applied."""
    return evidence(tuned.before), evidence(tuned.after)


@pytest.fixture(scope="session")
def report(tuned: Tuned) -> dict[str, Any]:
    return run(tuned.after)


def strength(model: LanguageEnsemble, rows: pa.Table, member: int) -> float:
    """Return the mean extraction strength of rows under one adapter."""
    _, members = model.answer_each(rows)
    scores = members[member]
    return float(np.mean([metrics.extraction_strength(scores.right[p]) for p in scores.slices]))


@pytest.mark.trained
def test_the_forgotten_rows_were_memorised_and_no_longer_are(tuned: Tuned) -> None:
    forgotten = derive_rows(tuned.after, "s000", tuned.after.read_list()).forget
    before, after = (
        strength(open_model(context), forgotten, 0) for context in (tuned.before, tuned.after)
    )

    assert before >= 0.9
    assert after < 0.5


@pytest.mark.trained
@pytest.mark.parametrize("model", ["shard_models", "final_model"])
def test_what_was_not_retrained_is_found_and_what_was_is_at_chance(
    attacked: tuple[Evidence, Evidence], model: str
) -> None:
    before, after = (found.attacks[model]["lira"] for found in attacked)

    assert before is not None
    assert after is not None
    assert before.forgotten.wide[0] > 0.8
    assert at_chance(after.forgotten.wide)
    assert after.control.wide[0] > 0.8, "the attack finds what is in the models"


@pytest.mark.trained
def test_the_verdict_of_a_model_that_was_not_retrained_is_fail(
    attacked: tuple[Evidence, Evidence],
) -> None:
    found, _ = attacked

    assert found.verdict is not None
    assert found.verdict.outcome == "fail"
    assert list(found.attacks["shard_models"]) == TEXT_ATTACKS
    assert all(one is not None for one in found.attacks["shard_models"].values())


@pytest.mark.trained
def test_two_models_of_text_tell_which_authors_went(tuned: Tuned) -> None:
    """The answers of the older adapters and the newer ones together; see `verify --against`."""
    after = tuned.after
    rows = rows_between(after, Listed(), Listed(frozenset(after.read_list().tokens)))
    older, newer = (TextModel(open_model(context)) for context in (tuned.before, after))

    found = measure_difference(after, older, newer, rows)

    assert found.reasons == ()
    assert found.reconstruction is None
    attacks = found.shard_models.attacks
    assert list(attacks) == ["logit", "loss", "zlib", "min_k", "min_k_plus_plus"]
    for name in ("logit", "loss"):
        loss = attacks[name]
        assert loss.ci is not None
        assert loss.ci[0] > 0.85
        assert loss.stayed.ci is not None
        assert loss.stayed.auc is not None
        assert loss.auc is not None
        # Who stayed is not taken for who went: each AUC is outside of the other's interval.
        assert loss.stayed.auc < loss.ci[0]
        assert loss.auc > loss.stayed.ci[1]


def test_attacks_through_the_pipeline_score_as_directly(tuned: Tuned) -> None:
    model, rows = open_model(tuned.after), holdout_of(tuned.after).slice(0, 9)
    home = np.arange(9) % 4
    (answers,) = TextModel(model).answers([(rows, home)])
    _, members = model.answer_each(rows)
    texts = rows["completion"].to_pylist()

    for row, number in enumerate(home):
        scores = members[number]
        part = scores.slices[row]
        logs = scores.logprobs[part]
        direct = {
            "loss": metrics.loss_score(logs),
            "zlib": metrics.zlib_score(logs, texts[row]),
            "min_k": metrics.min_k(logs),
            "min_k_plus_plus": metrics.min_k_plus_plus(
                logs, scores.mean[part], scores.spread[part]
            ),
        }
        for name, value in direct.items():
            assert answers.of_home.scores[name][row] == pytest.approx(value, rel=1e-3, abs=1e-4)
        wanted = logit_of_logs(np.array([logs.mean()]))[0]
        assert answers.logits[row, number] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    assert answers.targets.tolist() == [0] * 9
    people = subject_tokens(rows)
    same = np.equal.outer(answers.groups, answers.groups)
    assert same.tolist() == [[one == other for other in people] for one in people]


def test_the_report_passes_by_exactness_and_says_what_it_covers(report: dict[str, Any]) -> None:
    assert report["verdict"] == "pass"
    assert report["reasons"][-1] == report["covers"]
    assert "base" in report["covers"]
    assert "not covered" in report["covers"]
    assert report["membership"]["attack"] == "lira"
    assert set(report["membership"]["attacks"]) == set(TEXT_ATTACKS)


@pytest.mark.trained
def test_extraction_of_forgotten_rows_is_at_the_level_of_unseen_ones(
    tuned: Tuned, report: dict[str, Any]
) -> None:
    known = report["language"]

    assert known["forgotten"]["rows"] == 40
    gap = known["forgotten"]["extraction_strength"] - known["holdout"]["extraction_strength"]
    # Memorised rows are 0.8 above it.
    assert abs(gap) < 0.1
    model, rows = open_model(tuned.after), holdout_of(tuned.after)
    scores = model.row_scores(rows)
    direct = [metrics.extraction_strength(scores.right[part]) for part in scores.slices]
    assert known["holdout"]["extraction_strength"] == pytest.approx(np.mean(direct), abs=1e-6)
    assert known["holdout"] == report["utility"]["language"]


def test_the_utility_is_of_answer_tokens(tuned: Tuned, report: dict[str, Any]) -> None:
    scores = open_model(tuned.after).row_scores(holdout_of(tuned.after))
    utility = report["utility"]

    assert utility["accuracy"] == pytest.approx(scores.right.mean(), abs=1e-6)
    assert utility["log_loss"] == pytest.approx(-scores.logprobs.mean(), abs=1e-6)
    assert (utility["macro_f1"], utility["calibration_error"]) == (None, None)
    assert utility["per_class"] == {}
    perplexity = utility["language"]["perplexity"]
    assert perplexity == pytest.approx(np.exp(-scores.logprobs.mean()), rel=1e-4)


def test_no_report_has_a_row_in_it(tuned: Tuned, report: dict[str, Any]) -> None:
    assert report["verdict"] == "pass"
    written = "".join(
        path.read_text(encoding="utf-8")
        for path in tuned.after.project.report.parent.rglob("*")
        if path.is_file()
    )
    longer = {text for text in texts_of(AUTHORS) if len(text) > 4}
    assert len(longer) > AUTHORS
    assert not [text for text in longer if text in written]


def test_few_forgotten_rows_give_counts_only(tuned: Tuned) -> None:
    raw = tuned.after.params.model_dump(mode="json")
    raw["verify"] |= {"min_rows": 41, "rerun": 0}
    few = replace(tuned.after, params=check_params(raw))
    found = run(few)

    assert found["membership"]["auc"] is None
    assert found["membership"]["forget_rows"] == 40
    assert found["language"]["forgotten"] is None
    assert {one["auc"] for one in found["membership"]["attacks"].values()} == {None}


def test_by_route_the_others_that_never_saw_a_row_are_the_references(tuned: Tuned) -> None:
    routed = opened(tuned.after, "s000", "s001", "s002", "s003", rule="route")
    rows = holdout_of(tuned.after).slice(0, 12)
    home = np.arange(12) % 4
    (answers,) = TextModel(routed).answers([(rows, home)])
    chosen = routed.routes(rows)
    view = of_final_model(TextModel(routed), answers, answers, answers, answers, probable=True)

    found = view.compared
    everyone = np.arange(12)
    assert found.own[:12] == pytest.approx(answers.logits[everyone, chosen])
    assert len(set(chosen.tolist())) > 1, "topics of one member only would hide a mistake"
    for row in range(12):
        left = {0, 1, 2, 3} - {int(home[row]), int(chosen[row])}
        assert set(np.flatnonzero(found.usable[row]).tolist()) == left
    assert found.references[:12] == pytest.approx(answers.logits)


@pytest.mark.trained
def test_reference_adapters_know_their_own_halves_of_a_shard(tuned: Tuned) -> None:
    context = tuned.after
    shard = fullest(context)
    rows = derive_rows(context, shard, context.read_list()).retain
    recipe = Recipe.of_project(context)
    references = train_references(recipe, context.params.dataset, shard, rows, 5)
    logits, unseen = references.ask(rows, trained=True)
    _, of_others = references.ask(holdout_of(context).slice(0, 3), trained=False)

    assert (logits.shape, references.empty) == ((rows.num_rows, 5), frozenset())
    # Two of five are tuned on each row.
    assert unseen.sum(axis=1).tolist() == [3] * rows.num_rows
    assert of_others.all()
    # A reference that was tuned on a row is sure of it.
    assert logits[~unseen].min() > 1
    assert logits[~unseen].mean() > logits[unseen].mean() + 2


@pytest.mark.trained
def test_where_shards_are_few_they_are_what_is_compared_with(tuned: Tuned) -> None:
    raw = tuned.after.params.model_dump(mode="json")
    raw["verify"] |= {"reference_models": 5}
    shard = fullest(tuned.after)
    rows = derive_rows(tuned.after, shard, tuned.after.read_list())
    context = replace(tuned.after, params=check_params(raw))
    alone = TextModel(opened(context, shard))
    forgotten = {shard: rows.forget}
    found = gather(context, alone, forgotten, lambda _: rows.retain, holdout_of(context))
    lira = found.attacks["shard_models"]["lira"]

    assert lira is not None
    assert lira.control.value > 0.9
    # As of the final model, which is the one shard's.
    assert found.attacks["final_model"]["lira"] is not None
    without = gather(tuned.after, alone, forgotten, lambda _: rows.retain, holdout_of(context))
    assert without.attacks["shard_models"]["lira"] is None


def test_a_shard_without_rows_left_is_no_member_and_no_error(tuned: Tuned, tmp_path: Path) -> None:
    root = tmp_path / "lost"
    shutil.copytree(tuned.after.project.root, root)
    context = replace(tuned.after, project=Project(root))
    forget_authors(context, *authors_in(context, "s001"))
    honour(context)
    found = run(context)

    assert found["verdict"] == "pass"
    assert [member.shard for member in open_model(context).members] == ["s000", "s002", "s003"]
    json.dumps(found, allow_nan=False)


def test_a_project_all_of_whose_rows_are_gone_still_has_a_report(
    tuned: Tuned, tmp_path: Path
) -> None:
    root = tmp_path / "empty"
    shutil.copytree(tuned.after.project.root, root)
    context = replace(tuned.after, project=Project(root))
    for shard in context.params.sharding.shards:
        forget_authors(context, *authors_in(context, shard))
    honour(context)
    found = run(context)

    assert found["verdict"] == "pass"
    assert found["membership"]["auc"] is None
    assert "no model left" in found["membership"]["reasons"][0]
    assert found["language"] is None
    assert read_shard(context.project.retain_file("s000"), "s000").rows.num_rows == 0
    assert KEY.check == context.params.key_check


def test_a_revision_that_was_checked_out_is_lent_the_base(tuned: Tuned, tmp_path: Path) -> None:
    context = tuned.after
    recheck.lend_base(context.params, context.project.root, tmp_path)
    found = base.find_base(text_options(context.params.train), tmp_path)

    assert found == tmp_path / "base"
    assert found.is_symlink()
    # What another revision pins is not what is lent to it.
    other = context.params.model_dump(mode="json")
    other["train"]["options"]["files"]["config.json"] = "0" * 64
    with pytest.raises(InputError, match=r"config\.json differs"):
        base.find_base(text_options(check_params(other).train), tmp_path)
    recheck.lend_base(context.params, context.project.root, context.project.root)
    assert not (context.project.root / "base").is_symlink()
