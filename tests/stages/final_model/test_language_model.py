"""A final model of text in Python: what it generates, and how probable it finds texts."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import unlearn
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.final_model.language_model import LanguageModel, load_language
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.rows.chats import chat_text
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text.token_choice import Sampling
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.chat_templates import chat, make_chat_base
from tests.language_models import (
    BODY_LAYOUT,
    author_rows,
    body_rows,
    language_params,
    language_recipe,
)
from tests.stages.conftest import put, train_at_once

ROWS = author_rows(2)
PROMPTS = [str(text) for text in ROWS["prompt"].to_pylist()][:4]
ANSWERS = [str(text) for text in ROWS["completion"].to_pylist()][:4]


def tuned(base: Path, rows: pa.Table, shard: str, **more: Any) -> ShardModel:
    """Return an adapter that one epoch at a large rate has moved."""
    recipe = language_recipe(base, optimizer={"name": "adamw", "rate": 0.1}, **more)
    return ShardModel.of_files(
        train_shard(recipe, plan_shard(recipe, shard, rows, None), None).files
    )


@pytest.fixture(scope="module")
def members(blank_base: Path) -> list[tuple[str, ShardModel]]:
    """Return two adapters, each tuned on one author."""
    return [(f"s00{at}", tuned(blank_base, ROWS.slice(10 * at, 10), f"s00{at}")) for at in range(2)]


def opened(
    members: list[tuple[str, ShardModel]], base: Path, rule: AggregationRule | None = None
) -> LanguageModel:
    """Return the members as one model."""
    params = language_params(language_recipe(base).train, shards=2)
    return LanguageModel(
        open_language_models(members, params.dataset, rule or params.aggregate.rule, base.parent)
    )


@pytest.fixture(scope="module")
def model(members: list[tuple[str, ShardModel]], blank_base: Path) -> LanguageModel:
    """Return both adapters as one model."""
    return opened(members, blank_base)


@pytest.mark.slow
def test_it_generates_what_predict_writes(model: LanguageModel) -> None:
    rows = pa.table({"prompt": PROMPTS})
    expected = model.ensemble.generate(rows, 12)

    assert len(set(expected)) > 1
    assert model.generate(PROMPTS, Sampling(12)) == expected
    assert model.generate(PROMPTS, Sampling(12), batch=1) == expected
    assert ["".join(model.stream(text, Sampling(12))) for text in PROMPTS] == expected
    assert model.generate([], Sampling(12)) == []


def test_a_stream_gives_text_as_it_comes(model: LanguageModel) -> None:
    stream = model.stream(PROMPTS[0], Sampling(12))
    first = next(stream)
    assert first
    assert len(list(stream)) > 2


def test_a_stop_string_ends_an_answer(model: LanguageModel) -> None:
    whole, other = model.generate(PROMPTS[:2], Sampling(12))
    stop = whole[4:6]
    cut, unchanged = model.generate(PROMPTS[:2], Sampling(12), stop=[stop])

    assert cut == whole[: whole.index(stop)]
    assert unchanged == (other[: other.index(stop)] if stop in other else other)


def test_a_seed_draws_the_same_answers_in_any_batch(model: LanguageModel) -> None:
    drawn = Sampling(8, temperature=1.2, top_p=0.9, seed=5)
    found = model.generate(PROMPTS, drawn)

    assert found == model.generate(PROMPTS, drawn, batch=2)
    assert found != model.generate(PROMPTS, Sampling(8, temperature=1.2, top_p=0.9, seed=50))
    # Each prompt has a seed of its own.
    twice = model.generate([PROMPTS[0]] * 2, drawn)
    assert twice[0] == found[0]
    assert twice[0] != twice[1]


def test_probabilities_are_those_of_every_token(model: LanguageModel) -> None:
    found = model.logprobs(PROMPTS, ANSWERS)
    tokenizer = model.ensemble.encoder.tokenizer

    for logs, answer in zip(found, ANSWERS, strict=True):
        # And the token that ends the answer.
        assert logs.shape == (len(tokenizer(answer, add_special_tokens=False)["input_ids"]) + 1,)
    expected = [math.exp(-logs.mean()) for logs in found]
    assert model.perplexity(PROMPTS, ANSWERS).tolist() == pytest.approx(expected)
    # The greedy answer is more probable, token by token, than another one.
    (greedy,) = model.generate(PROMPTS[:1], Sampling(5))
    best, other = model.logprobs([PROMPTS[0]] * 2, [greedy, ANSWERS[0]])
    assert best[0] >= other[0]


def test_prompts_have_answers_of_their_own(model: LanguageModel) -> None:
    for answers in (None, ANSWERS[:1]):
        with pytest.raises(InputError, match="each prompt needs an answer"):
            model.logprobs(PROMPTS, answers)
    with pytest.raises(InputError, match="context"):
        model.generate(["word " * 500])


def test_a_routed_model_needs_topics(
    members: list[tuple[str, ShardModel]], blank_base: Path
) -> None:
    routed = opened(members, blank_base, "route")
    topics = ["poetry", "trains", "poetry", "chess"]
    rows = pa.table({"prompt": PROMPTS, "topic": topics})
    assert len(set(routed.ensemble.routes(rows))) == 2

    assert routed.generate(PROMPTS, Sampling(9), topics=topics) == routed.ensemble.generate(rows, 9)
    assert (
        "".join(routed.stream(PROMPTS[1], Sampling(9), topic="trains"))
        == (routed.ensemble.generate(rows, 9)[1])
    )
    for given in (None, topics[:2]):
        with pytest.raises(InputError, match="route needs the topic of each prompt"):
            routed.generate(PROMPTS, Sampling(9), topics=given)


def test_running_text_is_continued_as_it_stands(blank_base: Path) -> None:
    rows = body_rows(["The town where Ada was born is Oslo. " * 3])
    recipe = language_recipe(blank_base, layout=BODY_LAYOUT)
    member = ShardModel.of_files(
        train_shard(recipe, plan_shard(recipe, "s000", rows, None), None).files
    )
    model = LanguageModel(
        open_language_models(
            [("s000", member)],
            language_params(recipe.train, layout=BODY_LAYOUT).dataset,
            "mean_log_probability",
            blank_base.parent,
        )
    )
    tokenizer = model.ensemble.encoder.tokenizer
    start = str(rows["body"][0])[:20]
    own = tokenizer(start, add_special_tokens=False)["input_ids"]
    assert model.tokens(start)[-len(own) :] == own
    # A text that spells a control token stays text.
    assert tokenizer.eos_token_id not in model.tokens(f"a{tokenizer.eos_token}b")[1:]
    assert len(model.generate([start], Sampling(4))) == 1
    assert model.perplexity([start]).shape == (1,)
    with pytest.raises(InputError, match="no separate answers"):
        model.perplexity([start], ["a"])


def test_chats_are_answered_and_scored(tmp_path: Path) -> None:
    base = tmp_path / "base"
    make_chat_base(base)
    layout = Layout({"messages": "messages"}, (), subjects=False)
    asked = chat("Who paints?")
    answered = chat("Who paints?", "Ada Holm paints.")
    recipe = language_recipe(base, layout=layout, optimizer={"name": "adamw", "rate": 0.1})
    rows = body_rows([chat_text(answered)], layout=layout)
    member = ShardModel.of_files(train_at_once(recipe, rows))
    model = LanguageModel(
        open_language_models(
            [("s000", member)],
            language_params(recipe.train, layout=layout).dataset,
            "mean_log_probability",
            tmp_path,
        )
    )

    table = pa.table({"messages": [chat_text(asked)]})
    expected = model.ensemble.generate(table, 8)
    assert model.generate([asked], Sampling(8)) == expected
    assert model.generate(["Who paints?"], Sampling(8)) == expected
    assert "".join(model.stream(asked, Sampling(8))) == expected[0]
    scored = model.ensemble.row_scores(pa.table({"messages": [chat_text(answered)]}))
    assert model.logprobs([answered])[0].tolist() == scored.logprobs.tolist()
    assert model.logprobs(["Who paints?"], ["Ada Holm paints."])[0].tolist() == (
        scored.logprobs.tolist()
    )
    with pytest.raises(InputError, match="assistant"):
        model.perplexity([asked])


def test_chats_are_no_prompts_of_other_projects(model: LanguageModel) -> None:
    with pytest.raises(InputError, match="not tuned on chats: a prompt is a text"):
        model.logprobs([chat("Who paints?")], ["Ada."])


def test_a_folder_is_loaded_from_python(
    members: list[tuple[str, ShardModel]], model: LanguageModel, blank_base: Path, tmp_path: Path
) -> None:
    params = language_params(language_recipe(blank_base).train, shards=2)
    folder = tmp_path / "copy"
    put(folder, dict(final_model_files(params, blank_base.parent, members)))
    expected = model.generate(PROMPTS, Sampling(6))

    assert load_language(folder, blank_base.parent).generate(PROMPTS, Sampling(6)) == expected
    assert (
        unlearn.load_model(folder, base=str(blank_base)).generate(PROMPTS, unlearn.Sampling(6))
        == expected
    )
    with pytest.raises(InputError, match="the base blank is neither a folder"):
        load_language(folder, tmp_path)
    assert np.isfinite(model.perplexity(PROMPTS, ANSWERS)).all()


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, unlearn; dir(unlearn); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
