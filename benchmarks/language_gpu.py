"""A large language model on a GPU: tuning and NPO against bare loops, and eight shards.

The base has the shape of Llama 3.2 1B, and random weights in bfloat16: what it knows changes no
time. Activations are computed twice (gradient checkpointing). The bare loops have the same batches
in the same order, the same optimizer and the same clipping. Without a GPU, `--size tiny` shows that
the script works; its numbers mean nothing.
"""

import argparse
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from unlearn.cli.examples.tiny_base import make_tokenizer
from unlearn.stages.config.text import AdapterOptions, LanguageMethodSettings, NpoSettings
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.causal import CausalEstimator, TextSlice
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.estimators.torch_machine import find_device
from unlearn.stages.text.base import pin_files
from unlearn.stages.text.sequences import Ints, Sequences, ragged
from unlearn.stages.training.shard_model import ShardModel, describe_model
from unlearn.stages.unlearn.text.descent import both_sides
from unlearn.stages.unlearn.text.guard import Limits, TextGuard, TextProbes
from unlearn.stages.unlearn.text.npo import npo
from unlearn.stages.unlearn.text.problem import TextProblem
from unlearn.stages.unlearn.text.tuned import Tuned

from benchmarks.bare_loops import CLIP, LAYOUT, RANK, RATE, SEED, mask_of, optimizer_of
from benchmarks.harness import machine, say, show, spread, workplace

#: hidden size, feed-forward size, layers, heads, heads of keys and values, vocabulary.
SIZES = {"1b": (2048, 8192, 16, 32, 8, 128_256), "tiny": (64, 128, 2, 4, 2, 512)}

#: Tokens of a sequence, sequences of a batch, and shards that are tuned side by side.
LENGTH, BATCH, SHARDS = {"1b": 512, "tiny": 48}, 8, 8


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--steps", type=int, default=20, help="steps of each turn")
    parser.add_argument("--pairs", type=int, default=3, help="turns of each loop")
    parser.add_argument("--keep", type=Path, help="make the base here and leave it")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    print(machine())
    if not torch.cuda.is_available():
        say("there is no GPU: these numbers are not those of one")
    with workplace(arguments.keep) as folder:
        base = make_base(folder, arguments.size)
        _tuning(base, arguments)
        _unlearning(base, arguments)
        _shards(base, arguments)


def make_base(folder: Path, size: str) -> Path:
    """Write a base of random weights in bfloat16; return its folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, inner, layers, heads, groups, vocabulary = SIZES[size]
    base = folder / size
    base.mkdir()
    make_tokenizer(["some words to have pieces of"], context=2 * LENGTH[size]).save_pretrained(base)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=2 * LENGTH[size],
        tie_word_embeddings=True,
    )
    with torch.device(find_device("auto")):
        module = LlamaForCausalLM(config).to(torch.bfloat16)
    module.save_pretrained(base)
    return base


def estimator_of(base: Path, size: str) -> CausalEstimator:
    """Return the tool's own estimator: an adapter on the base in half precision."""
    train = TrainParams.model_validate(
        {
            "model": "lora",
            "options": {
                "base": base.name,
                "files": pin_files(base, base.name),
                "context": 2 * LENGTH[size],
                "clip": CLIP,
                "rank": RANK,
                "alpha": 2 * RANK,
                "precision": "bfloat16",
                "checkpointing": True,
            },
            "batch": BATCH,
            "optimizer": {"name": "adamw", "rate": RATE},
            "device": "auto",
        }
    )
    return make_text_estimator(train, LAYOUT, base.parent)


def sequences_of(size: str, count: int, seed: int = SEED) -> Sequences:
    """Return sequences of random tokens, the second half of which is the answer."""
    length = LENGTH[size]
    draw = np.random.default_rng(seed)
    tokens = draw.integers(5, 200, (count, length)).tolist()
    return ragged(tokens, [length // 2] * count, list(range(count)))


def load_bare(base: Path) -> Any:
    """Return the base with an adapter of PEFT, as anyone would load it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    module = module.to(find_device("auto"))
    module.gradient_checkpointing_enable({"use_reentrant": False})
    shape = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    torch.manual_seed(SEED)
    return get_peft_model(module, shape)


def _turns(contenders: dict[str, Callable[[], Callable[[], object]]], pairs: int) -> dict[str, Any]:
    """Return seconds and the most memory in GiB of each turn, after one that does not count."""
    found: dict[str, Any] = {name: ([], []) for name in contenders}
    for turn in range(-1, pairs):
        names = list(contenders) if turn % 2 else list(contenders)[::-1]
        for name in names:
            work = contenders[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= 0:
                found[name][0].append(time.perf_counter() - started)
                found[name][1].append(_memory())
            del work
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return found


def _memory() -> float:
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else float("nan")


def _line(name: str, found: dict[str, Any], tokens: int) -> list[str]:
    own, bare = found["ours"], found["bare"]
    ratios = [one / other for one, other in zip(bare[0], own[0], strict=True)]
    return [
        name,
        f"{tokens / median(own[0]):,.0f}",
        f"{tokens / median(bare[0]):,.0f}",
        spread(ratios, 2),
        f"{max(own[1]):.1f}",
        f"{max(bare[1]):.1f}",
    ]


_HEADER = ("", "tokens / s", "plain loop's", "plain loop's time / ours", "GiB", "plain loop's GiB")


def _tuning(base: Path, arguments: argparse.Namespace) -> None:
    size, steps = arguments.size, arguments.steps
    sequences = sequences_of(size, BATCH * steps)
    estimator = estimator_of(base, size)
    torch.manual_seed(0)
    batches = torch.randperm(len(sequences)).numpy().reshape(steps, BATCH)

    def ours() -> Callable[[], object]:
        data = TextSlice(sequences, steps, lambda epoch: epoch)
        return lambda: estimator.fit_slice(None, data, SEED)

    def bare() -> Callable[[], object]:
        module = load_bare(base)

        def tune() -> None:
            module.train()
            weights, optimizer = optimizer_of(module)
            for part in batches:
                loss = _loss(module, sequences, part, estimator)
                _step(loss, weights, optimizer)

        return tune

    found = _turns({"ours": ours, "bare": bare}, arguments.pairs)
    show(
        "language-gpu-tuning",
        _HEADER,
        [_line("tuning an adapter", found, len(sequences) * LENGTH[size])],
        f"{steps} steps of {BATCH} sequences of {LENGTH[size]} tokens, {arguments.pairs} pairs.",
    )


def _loss(module: Any, sequences: Sequences, part: Ints, estimator: CausalEstimator) -> Any:
    batch = sequences.batch(part, estimator.encoder.pad, estimator.device)
    mask = mask_of(sequences, part, batch).to(estimator.device)
    return module(
        input_ids=batch.inputs, attention_mask=mask, labels=batch.labels, use_cache=False
    ).loss


def _step(
    loss: torch.Tensor, weights: list[nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    nn.utils.clip_grad_norm_(weights, CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _unlearning(base: Path, arguments: argparse.Namespace) -> None:
    """Print NPO with a new adapter on a tuned one, against a loop that asks the reference once."""
    size, steps = arguments.size, arguments.steps
    forget = sequences_of(size, BATCH * steps)
    retain = sequences_of(size, BATCH * steps, SEED + 1)
    estimator = estimator_of(base, size)
    state = estimator.fit_slice(None, TextSlice(ragged([], [], []), 0, lambda epoch: epoch), SEED)
    described = describe_model(estimator.train, LAYOUT, len(forget), estimator.describe())
    original = ShardModel(described, estimator.export(state))
    shared = LanguageMethodSettings(
        adapter=AdapterOptions(rank=RANK, alpha=2 * RANK),
        rate=RATE,
        epochs=1,
        batch=BATCH,
        clip=CLIP,
    )

    def problem() -> TextProblem:
        tuned = Tuned(original, shared.adapter, base.parent, SEED)
        nothing = ragged([], [], [])
        infinite = float("inf")
        return TextProblem(
            tuned=tuned,
            forget=forget,
            retain=retain,
            rows=pa.table({}),
            settings=NpoSettings(),
            shared=shared,
            seed=SEED,
            epochs=1_000,
            guard=TextGuard(
                tuned,
                TextProbes(nothing, nothing, nothing, nothing),
                Limits(1.0, infinite, 1.0, infinite),
                active=False,
            ),
        )

    batches = list(both_sides(problem())(0))
    settings = NpoSettings()

    def ours() -> Callable[[], object]:
        prepared = problem()
        return lambda: npo(prepared)

    def bare() -> Callable[[], object]:
        module = load_bare(base)

        def nll(part: Ints) -> torch.Tensor:
            batch = forget.batch(part, estimator.encoder.pad, estimator.device)
            logits = module(input_ids=batch.inputs, use_cache=False).logits
            tokens = nn.functional.cross_entropy(
                logits[:, :-1].transpose(1, 2).float(),
                batch.labels[:, 1:],
                ignore_index=-100,
                reduction="none",
            )
            return tokens.sum(dim=1)

        def unlearn() -> None:
            module.train()
            weights, optimizer = optimizer_of(module)
            known = torch.zeros(len(forget), device=estimator.device)
            with torch.no_grad(), module.disable_adapter():
                for part in np.array_split(np.arange(len(forget)), steps):
                    known[torch.from_numpy(part)] = nll(part)
            for gone, kept in batches:
                behind = settings.beta * (nll(gone) - known[torch.from_numpy(gone)])
                away = -nn.functional.logsigmoid(behind).mean() * 2 / settings.beta
                stay = _loss(module, retain, kept, estimator)
                _step(settings.alpha * away + (1 - settings.alpha) * stay, weights, optimizer)

        return unlearn

    found = _turns({"ours": ours, "bare": bare}, arguments.pairs)
    show(
        "language-gpu-npo",
        _HEADER,
        [_line("NPO", found, 2 * len(forget) * LENGTH[size])],
        f"{steps} steps of {BATCH} sequences of each side; the guard is off in both.",
    )


def _shards(base: Path, arguments: argparse.Namespace) -> None:
    size = arguments.size
    lines = []
    for jobs in (1, 2, 4, SHARDS):
        say(f"{SHARDS} shards, {jobs} at a time")
        started = time.perf_counter()
        context = multiprocessing.get_context("spawn")
        with context.Pool(jobs) as pool:
            calls = [(base, size, arguments.steps)] * SHARDS
            memory = pool.starmap(_shard, calls, chunksize=1)
        spent = time.perf_counter() - started
        tokens = SHARDS * arguments.steps * BATCH * LENGTH[size]
        lines.append([jobs, f"{spent:.0f}", f"{tokens / spent:,.0f}", f"{jobs * max(memory):.1f}"])
    show(
        "language-gpu-shards",
        ("processes", "seconds", "tokens / s", "GiB together, at most"),
        lines,
        f"Adapters of {SHARDS} shards, {arguments.steps} steps each; processes start on the clock.",
    )


def _shard(base: Path, size: str, steps: int) -> float:
    estimator = estimator_of(base, size)
    data = TextSlice(sequences_of(size, BATCH * steps), steps, lambda epoch: epoch)
    estimator.fit_slice(None, data, SEED)
    return _memory()


if __name__ == "__main__":
    main()
