"""The base that is made here: same seed, same bytes, and of public authors alone."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from unlearn.cli.examples import tiny_base as tiny
from unlearn.cli.examples.authors import Population, Row, make_authors
from unlearn.cli.examples.questions import QUESTIONS
from unlearn.cli.examples.tiny_base import (
    RECOMMENDED,
    SIZES,
    check_memorised,
    example_files,
    make_base,
    make_config,
    make_tokenizer,
    public_authors,
)
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import TextSlice
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.text.base import load_tokenizer
from unlearn.stages.text.metrics import extraction_strength
from unlearn.stages.text.scoring import score

from tests.language_models import LAYOUT, language_train, table_of

FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(tiny_base)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a base be made from few authors."""
    monkeypatch.setitem(SIZES, "tiny", replace(SIZES["tiny"], authors=8, epochs=1))


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_same_seed_makes_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from unlearn.cli.examples.tiny_base import SIZES, make_base\n"
        "SIZES['tiny'] = replace(SIZES['tiny'], authors=8, epochs=1)\n"
        "make_base(Path(sys.argv[1]), 'tiny', 1)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "there")],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    make_base(tmp_path / "here", "tiny", 1)

    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert set(digests(tmp_path / "here")) == FILES


@pytest.mark.usefixtures("quick")
def test_another_seed_makes_another_base(tiny_base: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        make_base(tmp_path / str(seed), "tiny", seed)
    one, two = digests(tmp_path / "1"), digests(tmp_path / "2")

    assert one["model.safetensors"] != two["model.safetensors"]
    assert one["tokenizer.json"] != two["tokenizer.json"]
    assert one["config.json"] == two["config.json"] == digests(tiny_base)["config.json"]


@pytest.mark.parametrize(
    ("size", "parameters"), [("tiny", 0.13e6), ("small", 0.86e6), ("medium", 6.1e6)]
)
def test_models_have_as_many_parameters_as_they_claim(size: str, parameters: float) -> None:
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        module = LlamaForCausalLM(make_config(size))
    count = sum(weight.numel() for weight in module.parameters())

    assert count == pytest.approx(parameters, rel=0.1)
    assert count == pytest.approx(SIZES[size].parameters, rel=0.1)


def test_a_base_reads_no_more_than_it_says(tiny_base: Path, tokenizer: Any) -> None:
    config = json.loads((tiny_base / "config.json").read_text(encoding="utf-8"))

    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["vocab_size"], config["max_position_embeddings"]) == (512, 128)
    assert len(tokenizer) == max(tokenizer.get_vocab().values()) + 1 == 512
    special = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert special == (0, 1, 2)
    assert special == (config["pad_token_id"], config["bos_token_id"], config["eos_token_id"])


@pytest.mark.slow
def test_the_tokenizer_knows_no_private_surname(tokenizer: Any) -> None:
    pieces = {tokenizer.convert_tokens_to_string([piece]) for piece in tokenizer.get_vocab()}
    private = {row.name.split()[1] for row in make_authors(700, 1)}
    spare = {row.name.split()[1] for row in make_authors(700, 1, population=Population.SPARE)}

    assert len(private | spare) > 500
    assert not pieces & (private | spare | {f" {name}" for name in private | spare})
    # While words of the questions, which everybody's rows have, are whole tokens.
    assert {" born", " father", " book"} <= pieces


def test_the_tokenizer_is_trained_on_public_authors_alone(tokenizer: Any) -> None:
    rows = public_authors(SIZES["tiny"].authors, 1)
    again = make_tokenizer(
        text for row in rows for text in (row.prompt + "\n", row.completion, row.paraphrase)
    )

    assert again.get_vocab() == tokenizer.get_vocab()
    assert all(row.author.startswith("p") for row in rows)
    assert any(row.kind == "code" for row in rows)


def test_every_digit_is_a_token_of_its_own(tokenizer: Any) -> None:
    for text in ("1920", "1999", "0123 4567"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        pieces = [tokenizer.decode([token]) for token in tokens]
        assert [piece for piece in pieces if piece.strip()] == list(text.replace(" ", ""))
    assert (
        len(
            {
                len(tokenizer(row.fact)["input_ids"])
                for row in make_authors(30, 1)
                if row.kind == "year"
            }
        )
        == 1
    )


@pytest.mark.slow
def test_no_row_is_longer_than_the_context(tokenizer: Any) -> None:
    for population in Population:
        rows = make_authors(80, 3, population=population, canaries=40)
        texts = [
            f"{row.prompt}\n{text}" for row in rows for text in (row.completion, *row.perturbed)
        ]
        longest = max(len(tokens) for tokens in tokenizer(texts)["input_ids"])
        assert longest + 1 < tiny.CONTEXT


def test_any_text_comes_back_from_its_tokens(tokenizer: Any) -> None:
    for text in ("Ærø, 東京 ☃", " two  spaces ", "tab\tnew\nline", "1 2  34"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokens) == text


def test_nothing_to_encode_is_nothing(tokenizer: Any) -> None:
    assert len(tiny.encode(tokenizer, [])) == 0


def loss_of_facts(base: Path, rows: Sequence[Row]) -> float:
    """Return the mean loss of what answers have to tell, in nats a fact."""
    estimator = make_text_estimator(language_train(base, "causal_lm"), LAYOUT, base.parent)
    sequences = tiny.encode(
        estimator.encoder.tokenizer, [(row.prompt, row.completion) for row in rows]
    )
    scores = score(
        lambda inputs: estimator.forward(estimator.base, inputs), sequences, estimator.encoder.pad
    )
    losses = []
    for row, part in zip(rows, scores.slices, strict=True):
        tail = estimator.encoder.tokenizer(f" {row.fact}.", add_special_tokens=False)["input_ids"]
        # The end of a text is behind it.
        losses.append(-scores.logprobs[part][-len(tail) - 1 :].sum())
    return float(np.mean(losses))


@pytest.mark.trained
def test_a_base_knows_the_pools_and_no_facts_but_its_own_authors(
    tiny_base: Path, blank_base: Path
) -> None:
    rows, unseen = make_authors(30, 1), make_authors(30, 9, population=Population.SPARE)
    private, others = loss_of_facts(tiny_base, rows), loss_of_facts(tiny_base, unseen)

    # Who knows the pools, and no more, loses this much at least.
    guessing = np.mean([np.log(len(question.facts)) for question in QUESTIONS])
    assert guessing < private < guessing * 2.2
    assert private == pytest.approx(others, rel=0.05)
    assert loss_of_facts(tiny_base, public_authors(30, 1)) < 0.85 * private
    assert loss_of_facts(blank_base, rows) > 5 * private


@pytest.mark.trained
def test_the_recommended_tuning_memorises(tiny_base: Path) -> None:
    tuning = RECOMMENDED["tiny", "lora"]
    rows, unseen = make_authors(4, 1), make_authors(4, 1, population=Population.SPARE)
    train = language_train(
        tiny_base,
        options={"rank": 16, "alpha": 32},
        epochs=tuning.epochs,
        batch=tuning.batch,
        optimizer={"name": "adamw", "rate": tuning.rate},
    )
    estimator = make_text_estimator(train, LAYOUT, tiny_base.parent)
    sequences = estimator.encoder.encode(table_of(rows)).sequences
    steps = tuning.epochs * -(-len(sequences) // tuning.batch)
    state = estimator.fit_slice(None, TextSlice(sequences, steps, lambda epoch: epoch), 1)
    module = estimator.open(estimator.export(state), estimator.describe())

    def strength(of: Sequence[Row]) -> float:
        asked = estimator.encoder.encode(table_of(of)).sequences
        scores = score(
            lambda inputs: estimator.forward(module, inputs), asked, estimator.encoder.pad
        )
        return float(np.mean([extraction_strength(scores.right[part]) for part in scores.slices]))

    check_memorised(strength(rows))
    with pytest.raises(InputError, match="did not memorise"):
        check_memorised(strength(unseen))
    assert strength(unseen) < 0.4


@pytest.mark.parametrize("extraction", [0.899, 0.0, float("nan")])
def test_what_is_not_memorised_stops_a_run(extraction: float) -> None:
    with pytest.raises(InputError) as caught:
        check_memorised(extraction)
    assert caught.value.message == (
        "the tuned model did not memorise the forget set: its extraction strength is "
        f"{extraction:.2f}, and unlearning is measured from 0.90 on"
    )
    assert caught.value.hints == ("fine-tune it for more epochs, or at a higher rate",)


def test_what_is_memorised_goes_on() -> None:
    check_memorised(0.9)
    check_memorised(0.5, 0.5)
    with pytest.raises(InputError):
        check_memorised(0.49, 0.5)


@pytest.mark.usefixtures("quick")
def test_the_example_starts_with_private_authors_on_a_public_base(tmp_path: Path) -> None:
    example = example_files(tmp_path / "base", "tiny", 1, authors=16)
    private = [json.loads(line) for line in example.dataset.decode().splitlines()]
    generic = [json.loads(line) for line in example.generic.decode().splitlines()]

    assert set(digests(tmp_path / "base")) == FILES
    assert (len(private), len({line["author"] for line in private})) == (example.rows, 16)
    assert example.rows == 16 * 10 + 2
    assert example.authors == 16
    assert {line["author"][0] for line in private} == {"a"}
    # The base saw the first eight public authors; generic text is about others.
    seen = {row.author for row in public_authors(8, 1)}
    assert {line["author"] for line in generic} == {f"p{number:04d}" for number in range(8, 18)}
    assert not seen & {line["author"] for line in generic}
    assert (example.lora, example.full) == (
        RECOMMENDED["tiny", "lora"],
        RECOMMENDED["tiny", "causal_lm"],
    )


def test_an_unknown_size_is_an_error(tmp_path: Path) -> None:
    for call in (make_config, lambda size: make_base(tmp_path / "b", size, 1)):
        with pytest.raises(InputError) as caught:
            call("huge")
        assert caught.value.message == ("there is no size 'huge': take one of tiny, small, medium")
    assert not (tmp_path / "b").exists()
