"""Adapters that answer as one: against each by itself, against transformers, and from disk."""

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import CausalEstimator
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble, route_of
from unlearn.stages.final_model.text_loading import load_language_model, open_language_models
from unlearn.stages.text.scoring import TokenScores
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.language_models import (
    BODY_LAYOUT,
    LAYOUT,
    author_rows,
    body_rows,
    language_params,
    language_recipe,
)
from tests.pipeline.conftest import change_a_weight
from tests.stages.conftest import put, train_at_once

#: What each member's adapter is like: of different layers and ranks.
ADAPTERS: tuple[dict[str, Any], ...] = (
    {"rank": 4, "alpha": 8},
    {"rank": 2, "alpha": 6, "targets": ["q_proj", "layers.1.mlp.up_proj"]},
    {"rank": 8, "alpha": 8, "targets": ["down_proj"]},
)
NAMES = ("s000", "s001", "s002")

#: Two rows of each of three authors, on six topics.
ROWS = author_rows(3).take(pa.array([0, 1, 10, 11, 20, 21]))
ROWS = ROWS.set_column(
    ROWS.column_names.index("topic"), "topic", pa.array([f"topic {number}" for number in range(6)])
)

Models = Sequence[tuple[str, ShardModel]]


def tuned(base: Path, rows: pa.Table, shard: str = "s000", **options: Any) -> ShardModel:
    recipe = language_recipe(base, epochs=4, options=options)
    return ShardModel.of_files(
        train_shard(recipe, plan_shard(recipe, shard, rows, None), None).files
    )


@pytest.fixture(scope="module")
def models(tiny_base: Path) -> Models:
    """Return adapters that were tuned on an author each."""
    rows = author_rows(3)
    return [
        (name, tuned(tiny_base, rows.slice(10 * number, 10), name, **ADAPTERS[number]))
        for number, name in enumerate(NAMES)
    ]


@pytest.fixture(scope="module")
def params(tiny_base: Path) -> Params:
    return language_params(language_recipe(tiny_base).train, shards=3)


def opened(models: Models, params: Params, base: Path, rule: Any = None) -> LanguageEnsemble:
    return open_language_models(models, params.dataset, rule or params.aggregate.rule, base.parent)


@pytest.fixture(scope="module")
def ensemble(models: Models, params: Params, tiny_base: Path) -> LanguageEnsemble:
    return opened(models, params, tiny_base)


@pytest.fixture(scope="module")
def alone(models: Models, tiny_base: Path) -> list[tuple[CausalEstimator, Any]]:
    """Return each member, opened by itself on a base of its own."""
    found = []
    for _, model in models:
        options = model.description["train"]["options"]
        given = {name: options[name] for name in ("rank", "alpha", "targets") if name in options}
        recipe = language_recipe(tiny_base, options=given)
        estimator = make_text_estimator(recipe.train, LAYOUT, tiny_base.parent)
        found.append((estimator, estimator.open(model.weights or b"", model.description)))
    return found


def log_softmax(module: Any, tokens: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.log_softmax(module(input_ids=tokens, use_cache=False).logits.double(), dim=-1)


def same(found: TokenScores, expected: TokenScores, tolerance: float = 1e-5) -> None:
    assert found.ends.tolist() == expected.ends.tolist()
    for name in ("logprobs", "mean", "spread"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=tolerance, rtol=0
        )


def test_the_mean_of_log_probabilities_is_renormalised(
    ensemble: LanguageEnsemble, alone: list[tuple[CausalEstimator, Any]]
) -> None:
    answered = ensemble.answer(ROWS)
    sequences = answered.sequences

    for number, part in enumerate(answered.final.slices):
        tokens = torch.from_numpy(sequences.sequence(number))[None]
        logs = [log_softmax(module, tokens) for _, module in alone]
        mean = torch.stack(logs).mean(dim=0)
        total = torch.log_softmax(mean, dim=-1)[0, int(sequences.answers[number]) - 1 : -1]
        own = tokens[0, int(sequences.answers[number]) :]
        expected = total.gather(1, own[:, None])[:, 0].numpy()
        np.testing.assert_allclose(answered.final.logprobs[part], expected, atol=1e-4, rtol=0)
        # Members differ, so their mean is no distribution before it is renormalised.
        assert (mean.exp().sum(dim=-1)[0, int(sequences.answers[number]) :] < 0.9999).any()
        assert answered.final.right[part].tolist() == (total.argmax(dim=-1) == own).tolist()


def test_every_member_answers_as_it_does_alone(
    ensemble: LanguageEnsemble, models: Models, params: Params, tiny_base: Path
) -> None:
    answered = ensemble.answer(ROWS)

    for number, model in enumerate(models):
        single = opened([model], params, tiny_base).answer(ROWS)
        same(answered.members[number], single.final)
        same(single.members[0], single.final, 0)
    one, two, three = answered.members
    assert not np.allclose(one.logprobs, two.logprobs, atol=0.05)
    assert not np.allclose(two.logprobs, three.logprobs, atol=0.05)


def test_adapters_in_one_pass_are_those_one_by_one(
    ensemble: LanguageEnsemble, alone: list[tuple[CausalEstimator, Any]]
) -> None:
    # Prompts of one length are what a batch is generated from.
    tokens = torch.arange(60).view(3, 20) + 30
    with torch.inference_mode():
        found = ensemble._mean(tokens)  # noqa: SLF001 - of the pass by itself
    logs = [log_softmax(module, tokens) for _, module in alone]

    torch.testing.assert_close(found.double(), torch.stack(logs).mean(dim=0), atol=1e-5, rtol=1e-5)


def test_the_final_scores_are_those_of_the_whole_answer(ensemble: LanguageEnsemble) -> None:
    same(ensemble.scores(ROWS), ensemble.answer(ROWS).final, 0)
    same(ensemble.scores(ROWS, "perturbed_1"), ensemble.answer(ROWS, "perturbed_1").final, 0)
    for column in ("perturbed_1", "paraphrase"):
        counted = ensemble.encoder.encode(ROWS, column).sequences.counted
        assert ensemble.scores(ROWS, column).ends.tolist() == np.cumsum(counted).tolist()


def test_members_know_their_own_author_best(ensemble: LanguageEnsemble) -> None:
    members = ensemble.answer(author_rows(3)).members
    losses = np.array(
        [
            [-scores.mean_logprobs[10 * at : 10 * at + 10].mean() for at in range(3)]
            for scores in members
        ]
    )

    assert losses.argmin(axis=0).tolist() == [0, 1, 2]


def test_bodies_are_scored_piece_by_piece(tiny_base: Path) -> None:
    recipe = language_recipe(tiny_base, layout=BODY_LAYOUT, options={"context": 16})
    rows = body_rows(["The town where Ada was born is Oslo. " * 3, "She paints."])
    model = ShardModel.of_files(train_at_once(recipe, rows))
    params = language_params(recipe.train, layout=BODY_LAYOUT)
    answered = opened([("s000", model)], params, tiny_base).answer(rows)

    assert len(answered.sequences) > rows.num_rows
    merged = answered.final.by_row(answered.sequences.rows, rows.num_rows)
    assert len(merged) == rows.num_rows
    assert merged.ends[-1] == len(answered.final.logprobs)


def test_a_public_rule_routes_by_topic(models: Models, params: Params, tiny_base: Path) -> None:
    topics = ROWS["topic"].to_pylist()
    expected = [
        int.from_bytes(hashlib.sha256(topic.encode()).digest()[:8], "big") % 3 for topic in topics
    ]
    routed = opened(models, params, tiny_base, "route")
    answered = routed.answer(ROWS)

    assert set(expected) == {0, 1, 2}
    assert routed.routes(ROWS).tolist() == expected
    assert [route_of(topic, 3) for topic in topics] == expected
    for part, number in zip(answered.final.slices, expected, strict=True):
        for name in ("logprobs", "mean", "spread", "right"):
            found, member = (getattr(x, name) for x in (answered.final, answered.members[number]))
            assert np.array_equal(found[part], member[part]), name
    same(routed.scores(ROWS), answered.final, 0)


def test_known_topics_keep_their_member() -> None:
    # Worked out apart from this code: sha256("poetry") begins with these eight bytes.
    first = int(hashlib.sha256(b"poetry").hexdigest()[:16], 16)

    assert route_of("poetry", 3) == first % 3
    assert route_of("poetry", 8) == first % 8
    assert {route_of(f"topic {number}", 4) for number in range(40)} == {0, 1, 2, 3}


@pytest.mark.slow
def test_routing_needs_a_topic(models: Models, params: Params, tiny_base: Path) -> None:
    routed = opened(models, params, tiny_base, "route")
    message = "aggregate.rule: route needs the column of the role `topic`"
    for ask in (routed.answer, lambda rows: routed.generate(rows, 2)):
        with pytest.raises(InputError) as caught:
            ask(ROWS.drop_columns(["topic"]))
        assert caught.value.message == message
    # One member answers whatever the topic is.
    single = opened(models[:1], params, tiny_base, "route")
    assert len(single.generate(ROWS.drop_columns(["topic"]), 2)) == ROWS.num_rows


def by_transformers(
    estimator: CausalEstimator, module: Any, rows: pa.Table, most: int
) -> list[str]:
    """Return what transformers generates from each prompt, one by one."""
    texts = []
    for prompt in estimator.encoder.prompts(rows):
        tokens = torch.tensor([prompt])
        with torch.inference_mode():
            found = module.generate(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=False,
                max_new_tokens=most,
                pad_token_id=0,
            )
        texts.append(estimator.encoder.decode(found[0, len(prompt) :].tolist()))
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("most", [3, 40])
def test_a_members_generation_is_transformers_greedy_one(
    models: Models,
    params: Params,
    tiny_base: Path,
    alone: list[tuple[CausalEstimator, Any]],
    most: int,
) -> None:
    rows = author_rows(3)
    found = opened(models[:1], params, tiny_base).generate(rows, most)

    assert found == by_transformers(*alone[0], rows, most)
    assert len(set(found)) > 5
    if most == 40:
        assert all(text.endswith(".") for text in found)


def test_a_routed_generation_is_that_of_the_chosen_member(
    models: Models,
    params: Params,
    tiny_base: Path,
    alone: list[tuple[CausalEstimator, Any]],
) -> None:
    routed = opened(models, params, tiny_base, "route")
    found = routed.generate(ROWS, 12)

    expected = [by_transformers(*member, ROWS, 12) for member in alone]
    assert found == [expected[route][row] for row, route in enumerate(routed.routes(ROWS))]


def test_a_joint_generation_takes_the_most_probable_of_the_mean(
    ensemble: LanguageEnsemble, alone: list[tuple[CausalEstimator, Any]]
) -> None:
    found = ensemble.generate(ROWS, 10)

    for prompt, text in zip(ensemble.encoder.prompts(ROWS), found, strict=True):
        tokens = list(prompt)
        for _ in range(10):
            logs = [log_softmax(module, torch.tensor([tokens])) for _, module in alone]
            following = int(torch.stack(logs).mean(dim=0)[0, -1].argmax())
            if following == ensemble.encoder.end:
                break
            tokens.append(following)
        assert ensemble.encoder.decode(tokens[len(prompt) :]) == text


def test_a_generation_ends_with_the_context(
    models: Models, params: Params, tiny_base: Path
) -> None:
    name, model = models[0]
    train = model.description["train"]
    room = 12
    prompts = opened([(name, model)], params, tiny_base).encoder.prompts(ROWS)
    context = len(prompts[0]) + room
    moved = train | {"options": train["options"] | {"context": context}}
    short = ShardModel(model.description | {"train": moved}, model.weights)
    ensemble = opened([(name, short)], params, tiny_base)
    text = ensemble.generate(ROWS.slice(0, 1), 500)[0]

    tokens = ensemble.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(tokens) <= room


def test_empty_members_are_left_out(models: Models, params: Params, tiny_base: Path) -> None:
    recipe = language_recipe(tiny_base)
    empty = ShardModel.of_files(train_at_once(recipe, author_rows(1).slice(0, 0), "s001"))
    found = opened([models[0], ("s001", empty), models[2]], params, tiny_base)

    assert [(member.shard, member.rows) for member in found.members] == [("s000", 10), ("s002", 10)]
    expected = opened([models[0], models[2]], params, tiny_base)
    same(found.scores(ROWS), expected.scores(ROWS), 0)
    with pytest.raises(InputError, match="no members: every shard lost all its rows"):
        opened([("s001", empty)], params, tiny_base)


def test_whole_models_cannot_be_combined(tiny_base: Path) -> None:
    recipe = language_recipe(tiny_base, "causal_lm")
    model = ShardModel.of_files(train_at_once(recipe, author_rows(1)))
    params = language_params(recipe.train)

    with pytest.raises(InputError, match="whole language models cannot be combined"):
        opened([("s000", model), ("s001", model)], params, tiny_base)
    single = opened([("s000", model)], params, tiny_base)
    estimator = make_text_estimator(recipe.train, LAYOUT, tiny_base.parent)
    whole = estimator.open(model.weights or b"", model.description)
    assert single.generate(ROWS, 8) == by_transformers(estimator, whole, ROWS, 8)


@pytest.fixture
def folder(models: Models, params: Params, tiny_base: Path, tmp_path: Path) -> Path:
    """Return a final model's folder, moved away from its project."""
    files = final_model_files(params, tiny_base.parent, dict(models).items())
    put(tmp_path / "first", dict(files))
    shutil.move(tmp_path / "first", tmp_path / "moved")
    return tmp_path / "moved"


def test_a_moved_folder_answers_the_same(
    ensemble: LanguageEnsemble, folder: Path, tiny_base: Path, tmp_path: Path
) -> None:
    found = load_language_model(folder, tiny_base.parent)

    assert [member.shard for member in found.members] == list(NAMES)
    same(found.scores(ROWS), ensemble.scores(ROWS), 0)
    assert found.generate(ROWS, 6) == ensemble.generate(ROWS, 6)

    # The base may have moved as well; even out of the project's folder.
    shutil.copytree(tiny_base, tmp_path / "elsewhere" / "base")
    for base in ("base", "../elsewhere/base", str(tmp_path / "elsewhere" / "base")):
        again = load_language_model(folder, tmp_path / "elsewhere", base=base)
        same(again.scores(ROWS), ensemble.scores(ROWS), 0)


def test_a_changed_adapter_is_refused(folder: Path, tiny_base: Path) -> None:
    change_a_weight(folder / "members/s001/adapter_model.safetensors")

    with pytest.raises(InputError) as caught:
        load_language_model(folder, tiny_base.parent)
    assert caught.value.message == "member s001 of the final model was changed after it was made"


def test_a_changed_description_is_refused(folder: Path, tiny_base: Path) -> None:
    path = folder / "members/s002/model.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["adapter"]["alpha"] *= 2
    path.write_text(json.dumps(described), encoding="utf-8")

    with pytest.raises(InputError, match="^member s002 of the final model was changed"):
        load_language_model(folder, tiny_base.parent)


def test_another_base_is_refused(folder: Path, tiny_base: Path, blank_base: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_language_model(folder, tiny_base.parent, base=blank_base.name)
    assert "is not the one that params.yaml pins" in caught.value.message
    with pytest.raises(InputError, match="the base models/none is not there"):
        load_language_model(folder, tiny_base.parent, base="models/none")


def test_text_and_classes_are_loaded_by_their_own_functions(folder: Path, tiny_base: Path) -> None:
    with pytest.raises(InputError, match="reads text: `load_model` loads it"):
        load_ensemble(folder)

    described = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
    described["dataset"] |= {"target": "y", "classes": ["a"], "features": {"x": "numeric"}}
    described |= {"members": [], "rule": "mean_probability"}
    (folder / "ensemble.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(InputError, match="reads no text: load_ensemble loads it"):
        load_language_model(folder, tiny_base.parent)


def test_probabilities_of_answers_are_probabilities(ensemble: LanguageEnsemble) -> None:
    scores = ensemble.answer(ROWS).final

    assert ensemble.has_probabilities
    assert scores.finite
    assert (scores.logprobs <= 0).all()
    # No entropy exceeds that of the uniform distribution over 512 tokens.
    assert (-scores.mean <= math.log(512) + 1e-9).all()


def test_half_precision_answers_about_the_same(
    models: Models, ensemble: LanguageEnsemble, params: Params, tiny_base: Path
) -> None:
    halved = []
    for name, model in models:
        train = model.description["train"]
        options = train["options"] | {"precision": "bfloat16"}
        described = model.description | {"train": train | {"options": options}}
        halved.append((name, ShardModel(described, model.weights)))
    half = opened(halved, params, tiny_base)

    kinds = {name: weight.dtype for name, weight in half.module.named_parameters()}
    adapters = {kind for name, kind in kinds.items() if "lora_" in name}
    base = {kind for name, kind in kinds.items() if "lora_" not in name}
    assert (adapters, base) == ({torch.float32}, {torch.bfloat16})
    found, expected = half.answer(ROWS), ensemble.answer(ROWS)
    pairs = zip((*found.members, found.final), (*expected.members, expected.final), strict=True)
    for one, other in pairs:
        # Eight bits of mantissa.
        np.testing.assert_allclose(one.mean_logprobs, other.mean_logprobs, atol=0.1)
        assert not np.allclose(one.logprobs, other.logprobs, atol=1e-5)


def test_one_pass_tells_what_members_say_and_what_others_would_without_them(
    ensemble: LanguageEnsemble,
    models: Models,
    params: Params,
    tiny_base: Path,
) -> None:
    home = np.array([0, 0, 1, 1, 2, 2])
    found, expected = ensemble.answer_without(ROWS, home), ensemble.answer(ROWS)

    same(found.final, expected.final)
    for one, other in zip(found.members, expected.members, strict=True):
        same(one, other)
    assert found.without is not None
    for row, part in enumerate(found.final.slices):
        for number in range(3):
            left = [models[at] for at in range(3) if at not in {home[row], number}]
            scores = opened(left, params, tiny_base).scores(ROWS)
            np.testing.assert_allclose(
                found.without[part, number], scores.logprobs[part], atol=1e-4, rtol=0
            )


def test_of_two_members_nothing_is_left_to_ask(
    models: Models, params: Params, tiny_base: Path
) -> None:
    found = opened(models[:2], params, tiny_base).answer_without(ROWS, np.zeros(6, dtype=np.int64))

    assert found.without is None


def test_a_merged_member_answers_as_with_its_adapter(
    models: Models, params: Params, tiny_base: Path
) -> None:
    single = opened(models[:1], params, tiny_base)
    expected = single.scores(ROWS)
    whole = single.of_module(single.merged())

    same(whole.scores(ROWS), expected, 1e-4)
    assert whole.generate(ROWS, 8) == single.generate(ROWS, 8)
    assert not any("lora_" in name for name, _ in whole.module.named_parameters())
    # The member itself stays as it was.
    same(single.scores(ROWS), expected, 0)
    assert any(weight.numel() for weight in single.tuned_parameters())


def test_a_merged_member_is_one_in_half_precision_too(
    models: Models, params: Params, tiny_base: Path
) -> None:
    name, model = models[0]
    train = model.description["train"]
    options = train["options"] | {"precision": "bfloat16"}
    half = ShardModel(model.description | {"train": train | {"options": options}}, model.weights)
    single = opened([(name, half)], params, tiny_base)
    whole = single.of_module(single.merged())

    np.testing.assert_allclose(
        whole.scores(ROWS).mean_logprobs, single.scores(ROWS).mean_logprobs, atol=0.1
    )
