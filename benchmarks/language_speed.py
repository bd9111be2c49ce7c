"""Tuning and NPO against bare loops of transformers and PEFT, in turns.

Bases have random weights: what they know changes no time. The bare loops have the same batches in
the same order, the same optimizer and the same clipping. Their clock starts once the model is
loaded and stops before anything is written; that of `fit_slice` counts taking the weights as well.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from unlearn.stages.estimators.causal import CausalEstimator, TextSlice
from unlearn.stages.estimators.torch_machine import be_deterministic
from unlearn.stages.text.sequences import Ints, Sequences

from benchmarks.bare_loops import (
    AUTHORS,
    BATCH,
    CLIP,
    GOAL,
    RANK,
    SEED,
    Contender,
    compared,
    estimator_of,
    load_bare,
    make_blank_base,
    mask_of,
    optimizer_of,
    rows_of,
    take_turns,
)
from benchmarks.harness import say, show
from benchmarks.language_npo import FORGOTTEN, npo_lines

#: Steps of tuning, and epochs of NPO over 100 forget rows, by size; and of `--quick`.
_STEPS = {"tiny": (80, 10), "small": (40, 10), "medium": (14, 2)}
_QUICK = {"tiny": (12, 1), "small": (8, 1), "medium": (3, 1)}


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print the tables of tuning and of NPO."""
    from transformers.utils.logging import disable_progress_bar

    be_deterministic()
    # What the bare loops are told on loading has nothing to do with their time.
    disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    sizes = arguments.sizes or ("small", "medium")
    pairs = 2 if arguments.quick else arguments.pairs
    tuning, unlearning = [], []
    for size in sizes:
        base = make_blank_base(folder, size)
        steps, epochs = _length(size, quick=arguments.quick)
        for model in ("lora", "causal_lm"):
            estimator = estimator_of(base, model)
            sequences = estimator.encoder.encode(rows_of(0, AUTHORS)).sequences
            tokens = sum(int(sequences.lengths[part].sum()) for part in order_of(sequences, steps))
            say(f"speed: {model} on {size}, {steps} steps of {BATCH}")
            contenders = {
                "ours": _ours(estimator, sequences, steps),
                "bare": _bare(base, model, estimator, sequences, steps),
            }
            tuning.append([f"{model}, {size}", *compared(take_turns(contenders, pairs), tokens)])
        say(f"speed: NPO on {size}, {epochs} epochs")
        unlearning += npo_lines(base, size, epochs, pairs)
    lasting = ", ".join(f"{_length(size, quick=arguments.quick)[1]} on {size}" for size in sizes)
    show(
        "language-speed",
        (
            "fine-tuning",
            "tokens / s",
            "plain loop's",
            "plain loop's time / ours",
            "the same in processor time",
            "within the goal",
        ),
        tuning,
        f"Batches of {BATCH}, adapters of rank {RANK} on all linear layers, one thread; {pairs} "
        "pairs in turns, median (least to largest). Above 1 the tool is faster. The goal: at "
        f"least {1 - GOAL:g}.",
    )
    show(
        "language-speed-npo",
        (
            "NPO",
            "tokens / s",
            "plain loop's",
            "plain loop's time / ours",
            "the same in processor time",
            "a loop that evaluates the reference at each step",
            "within the goal",
        ),
        unlearning,
        f"A new adapter of rank {RANK} on a frozen model, {FORGOTTEN} of {AUTHORS} authors to "
        f"forget; epochs: {lasting}. The plain loop evaluates the reference once, before its "
        "steps, and reads the forget and the retain batch in one forward pass each. Its steps "
        "alone: no probes. Guard off: probes before and after; guard on: also within and at the "
        "end of every epoch.",
    )


def _length(size: str, *, quick: bool) -> tuple[int, int]:
    return (_QUICK if quick else _STEPS)[size]


def order_of(sequences: Sequences, steps: int) -> list[Ints]:
    """Return the batches that `fit_slice` takes, with the seed of an epoch its number."""
    found: list[Ints] = []
    epoch = 0
    while len(found) < steps:
        torch.manual_seed(epoch)
        order = torch.randperm(len(sequences)).numpy()
        found += [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        epoch += 1
    return found[:steps]


def _ours(estimator: CausalEstimator, sequences: Sequences, steps: int) -> Contender:
    data = TextSlice(sequences, steps, lambda epoch: epoch)
    return lambda: lambda: estimator.fit_slice(None, data, SEED)


def _bare(
    base: Path, model: str, estimator: CausalEstimator, sequences: Sequences, steps: int
) -> Contender:
    batches = order_of(sequences, steps)

    def prepare() -> Callable[[], object]:
        module = load_bare(base, adapter=model == "lora")

        def tune() -> None:
            module.train()
            weights, optimizer = optimizer_of(module)
            for part in batches:
                batch = sequences.batch(part, estimator.encoder.pad)
                module(
                    input_ids=batch.inputs,
                    attention_mask=mask_of(sequences, part, batch),
                    labels=batch.labels,
                    use_cache=False,
                ).loss.backward()
                nn.utils.clip_grad_norm_(weights, CLIP)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        return tune

    return prepare
