"""Tuning and NPO against bare loops of transformers and PEFT, in turns.

Bases have random weights: what they know changes no time. The bare loops have the same batches in
the same order, the same optimizer and the same clipping. Their clock starts once the model is
loaded and stops before anything is written; that of `fit_slice` counts taking the weights as well.
"""

import argparse
import gc
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from unlearn.stages.estimators.causal import CausalEstimator, TextSlice, language_estimator
from unlearn.stages.estimators.torch_models import be_deterministic
from unlearn.stages.language.authors import Population, Row, make_authors
from unlearn.stages.language.base import pin_files
from unlearn.stages.language.sequences import Batch, Ints, Sequences, ragged
from unlearn.stages.language.tiny import SEPARATOR, make_config, make_tokenizer
from unlearn.stages.language_params import AdapterOptions, LanguageMethodSettings, NpoSettings
from unlearn.stages.shard_file import RECORD, Layout
from unlearn.stages.shard_model import ShardModel
from unlearn.stages.train_params import TrainParams
from unlearn.stages.unlearn.language.descent import both_sides
from unlearn.stages.unlearn.language.guard import Limits, TextGuard, TextProbes
from unlearn.stages.unlearn.language.methods import npo
from unlearn.stages.unlearn.language.problem import TextProblem
from unlearn.stages.unlearn.language.tuned import Tuned

from benchmarks.harness import say, show, spread

#: The goal: as fast as a bare loop, or this much slower at most.
GOAL = 0.1

_LAYOUT = Layout({"prompt": "prompt", "completion": "completion"}, (), subjects=False)
_BATCH, _RANK, _RATE, _CLIP, _SEED = 16, 16, 1e-3, 1.0, 7
_AUTHORS, _FORGOTTEN = 40, 10

#: Steps of tuning, and epochs of NPO over 100 forget rows, by size; and of `--quick`.
_STEPS = {"tiny": (80, 10), "small": (40, 10), "medium": (14, 2)}
_QUICK = {"tiny": (12, 1), "small": (8, 1), "medium": (3, 1)}

#: Contenders of NPO, and what the table calls them.
_STAGED = {"alone": "its steps alone", "off": "guard off", "on": "guard on"}


@dataclass
class Clocked:
    """Turns of one contender: wall and processor seconds of each."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


#: Prepares a turn outside the clock, and returns what is to be timed.
Contender = Callable[[], Callable[[], object]]


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
            estimator = _estimator(base, model)
            sequences = estimator.encoder.encode(_rows(0, _AUTHORS)).sequences
            tokens = sum(int(sequences.lengths[part].sum()) for part in order_of(sequences, steps))
            say(f"speed: {model} on {size}, {steps} steps of {_BATCH}")
            contenders = {
                "ours": _ours(estimator, sequences, steps),
                "bare": _bare(base, model, estimator, sequences, steps),
            }
            tuning.append([f"{model}, {size}", *_compared(take_turns(contenders, pairs), tokens)])
        say(f"speed: NPO on {size}, {epochs} epochs")
        unlearning += _npo_lines(base, size, epochs, pairs)
    lasting = ", ".join(
        f"{_length(size, quick=arguments.quick)[1]} epochs on {size}" for size in sizes
    )
    show(
        "language-speed",
        (
            "tuning",
            "tokens / s",
            "bare loop's",
            "bare loop's time / ours",
            "the same in processor time",
            "within the goal",
        ),
        tuning,
        f"Batches of {_BATCH}, adapters of rank {_RANK} on all linear layers, one thread; {pairs} "
        "pairs in turns, median (least to largest). Above 1 the tool is faster. The goal: at "
        f"least {1 - GOAL:g}.",
    )
    show(
        "language-speed-npo",
        (
            "NPO",
            "tokens / s",
            "bare loop's",
            "bare loop's time / ours",
            "the same in processor time",
            "of a loop that asks the reference each step",
            "within the goal",
        ),
        unlearning,
        f"A new adapter of rank {_RANK} on a frozen model, {_FORGOTTEN} of {_AUTHORS} authors to "
        f"forget, {lasting}. The bare loop asks the reference once, before its steps, and reads "
        "the forget and the retain batch in a forward pass each. Its steps alone: nothing is "
        "probed. Guard off: probes are asked before and after; guard on: at the end of every "
        "epoch as well, and in between.",
    )


def _length(size: str, *, quick: bool) -> tuple[int, int]:
    return (_QUICK if quick else _STEPS)[size]


def make_blank_base(folder: Path, size: str) -> Path:
    """Write a base of random weights; return its folder."""
    from transformers import LlamaForCausalLM

    base = folder / size
    base.mkdir()
    rows = make_authors(_AUTHORS, 1, population=Population.PUBLIC)
    make_tokenizer(f"{row.prompt}{SEPARATOR}{row.completion}" for row in rows).save_pretrained(base)
    torch.manual_seed(_SEED)
    LlamaForCausalLM(make_config(size)).save_pretrained(base)
    return base


def _rows(first: int, last: int) -> pa.Table:
    rows: list[Row] = make_authors(last, 1)
    chosen = [row for row in rows if int(row.author[1:]) >= first]
    columns = {
        RECORD: [row.id for row in chosen],
        "prompt": [row.prompt for row in chosen],
        "completion": [row.completion for row in chosen],
    }
    return pa.table(columns)


def _estimator(base: Path, model: str) -> CausalEstimator:
    options: dict[str, Any] = {
        "base": base.name,
        "files": pin_files(base, base.name),
        "context": 128,
        "clip": _CLIP,
    }
    if model == "lora":
        options |= {"rank": _RANK, "alpha": 2 * _RANK}
    train = TrainParams.model_validate(
        {
            "model": model,
            "options": options,
            "batch": _BATCH,
            "optimizer": {"name": "adamw", "rate": _RATE},
            "device": "cpu",
        }
    )
    return language_estimator(train, _LAYOUT, base.parent)


def order_of(sequences: Sequences, steps: int) -> list[Ints]:
    """Return the batches that `fit_slice` takes, with the seed of an epoch its number."""
    found: list[Ints] = []
    epoch = 0
    while len(found) < steps:
        torch.manual_seed(epoch)
        order = torch.randperm(len(sequences)).numpy()
        found += [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        epoch += 1
    return found[:steps]


def _ours(estimator: CausalEstimator, sequences: Sequences, steps: int) -> Contender:
    data = TextSlice(sequences, steps, lambda epoch: epoch)
    return lambda: lambda: estimator.fit_slice(None, data, _SEED)


def _bare(
    base: Path, model: str, estimator: CausalEstimator, sequences: Sequences, steps: int
) -> Contender:
    batches = order_of(sequences, steps)

    def prepare() -> Callable[[], object]:
        module = load_bare(base, adapter=model == "lora")

        def tune() -> None:
            module.train()
            weights, optimizer = _optimizer(module)
            for part in batches:
                batch = sequences.batch(part, estimator.encoder.pad)
                module(
                    input_ids=batch.inputs,
                    attention_mask=_mask(sequences, part, batch),
                    labels=batch.labels,
                    use_cache=False,
                ).loss.backward()
                nn.utils.clip_grad_norm_(weights, _CLIP)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        return tune

    return prepare


def load_bare(base: Path, *, adapter: bool) -> Any:
    """Return a base as anyone would load it, with an adapter of PEFT or without."""
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if not adapter:
        return module
    from peft import LoraConfig, get_peft_model

    shape = LoraConfig(
        r=_RANK, lora_alpha=2 * _RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    torch.manual_seed(_SEED)
    return get_peft_model(module, shape)


def _optimizer(module: nn.Module) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    return weights, torch.optim.AdamW(weights, lr=_RATE, weight_decay=0.0, fused=True)


def _mask(sequences: Sequences, part: Ints, batch: Batch) -> torch.Tensor:
    """Return the mask that a collator of transformers makes."""
    lengths = torch.from_numpy(sequences.lengths[part])
    mask = torch.arange(batch.inputs.shape[1])[None, :] < lengths[:, None]
    return mask.long()


def take_turns(contenders: Mapping[str, Contender], pairs: int) -> dict[str, Clocked]:
    """Run contenders in turns, each turn in another order, after one that does not count."""
    found = {name: Clocked() for name in contenders}
    names = list(contenders)
    for turn in range(-1, pairs):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            work = contenders[name]()
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            work()
            spent = time.perf_counter() - wall, time.process_time() - processor
            if turn >= 0:
                found[name].wall.append(spent[0])
                found[name].processor.append(spent[1])
    return found


def _ratios(bare: Sequence[float], own: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(bare, own, strict=True)]


def _compared(found: Mapping[str, Clocked], tokens: int) -> list[str]:
    own, bare = found["ours"], found["bare"]
    walls, processors = _ratios(bare.wall, own.wall), _ratios(bare.processor, own.processor)
    return [
        f"{tokens / median(own.wall):,.0f}",
        f"{tokens / median(bare.wall):,.0f}",
        spread(walls, 3),
        spread(processors, 3),
        "yes" if median(processors) >= 1 - GOAL else "no",
    ]


@dataclass(frozen=True)
class _NpoTask:
    """What all NPO loops read.

    Parameters
    ----------
    base
        The base's folder.
    original
        A tuned model: the base as it is.
    forget, retain
        Sequences of either side.
    pad
        A token to fill up with.
    shared
        Rate, epochs, batch and adapter.
    """

    base: Path
    original: ShardModel
    forget: Sequences
    retain: Sequences
    pad: int
    shared: LanguageMethodSettings

    def problem(self, guard: str) -> TextProblem:
        """Return the stage's own problem, with a guard that stops nothing; see `_STAGED`."""
        tuned = Tuned(self.original, self.shared.adapter, self.base.parent, _SEED)
        # Without a target and with limits that nothing reaches, every step is taken.
        limits = Limits(1.0, float("inf"), 1.0, float("inf"))
        nothing = ragged([], [], [])
        probes = TextProbes(nothing, nothing, nothing, nothing)
        if guard != "alone":
            probes = self._probes(tuned)
        return TextProblem(
            tuned=tuned,
            forget=self.forget,
            retain=self.retain,
            rows=_rows(0, _FORGOTTEN),
            settings=NpoSettings(),
            shared=self.shared,
            seed=_SEED,
            # Enough that no share of them bounds the method's own.
            epochs=1_000,
            guard=TextGuard(tuned, probes, limits, active=guard == "on"),
        )

    def _probes(self, tuned: Tuned) -> TextProbes:
        """Return probes of as many sequences as the stage has."""
        prompts = tuned.encoder.prompts(_rows(_AUTHORS, _AUTHORS + 1).slice(0, 4))
        generic = tuned.encoder.encode(_rows(_AUTHORS, _AUTHORS + 3).slice(0, 24)).sequences
        return TextProbes(
            self.forget.first(48), self.retain.first(48), ragged([], [], []), generic, prompts
        )


def _npo_lines(base: Path, size: str, epochs: int, pairs: int) -> list[list[str]]:
    task = _npo_task(base, epochs)
    drawn = both_sides(task.problem("alone"))
    batches = [pair for epoch in range(epochs) for pair in drawn(epoch)]
    tokens = sum(
        int(task.forget.lengths[gone].sum() + task.retain.lengths[kept].sum())
        for gone, kept in batches
    )
    contenders = {
        "alone": _staged(task, "alone"),
        "bare": _bare_npo(task, batches, ahead=True),
        "off": _staged(task, "off"),
        "asking": _bare_npo(task, batches, ahead=False),
        "on": _staged(task, "on"),
    }
    found = take_turns(contenders, pairs)
    lines = []
    for name, said in _STAGED.items():
        pair = {"ours": found[name], "bare": found["bare"]}
        *cells, within = _compared(pair, tokens)
        asking = spread(_ratios(found["asking"].processor, found[name].processor), 3)
        lines.append([f"{size}, {said}", *cells, asking, within])
    return lines


def _npo_task(base: Path, epochs: int) -> _NpoTask:
    estimator = _estimator(base, "causal_lm")
    state = estimator.fit_slice(None, TextSlice(ragged([], [], []), 0, lambda epoch: epoch), _SEED)
    described = estimator.describe() | {
        "layout": _LAYOUT.as_json(),
        "file": estimator.file_name,
        "has_probabilities": True,
    }
    adapter = AdapterOptions(rank=_RANK, alpha=2 * _RANK)
    settings = LanguageMethodSettings(
        adapter=adapter, rate=_RATE, epochs=epochs, batch=_BATCH, clip=_CLIP
    )
    return _NpoTask(
        base=base,
        original=ShardModel(described, estimator.export(state)),
        forget=estimator.encoder.encode(_rows(0, _FORGOTTEN)).sequences,
        retain=estimator.encoder.encode(_rows(_FORGOTTEN, _AUTHORS)).sequences,
        pad=estimator.encoder.pad,
        shared=settings,
    )


def _staged(task: _NpoTask, guard: str) -> Contender:
    def prepare() -> Callable[[], object]:
        problem = task.problem(guard)

        def unlearn() -> None:
            npo(problem)
            if problem.facts["epochs"] != task.shared.epochs:
                raise AssertionError("the guard was to stop nothing")

        return unlearn

    return prepare


def _bare_npo(task: _NpoTask, batches: Sequence[tuple[Ints, Ints]], *, ahead: bool) -> Contender:
    """Return a loop as public code has it; the reference is asked ahead, or at every step."""
    settings = NpoSettings()

    def prepare() -> Callable[[], object]:
        module = load_bare(task.base, adapter=True)

        def nll(part: Ints) -> torch.Tensor:
            batch = task.forget.batch(part, task.pad)
            mask = _mask(task.forget, part, batch)
            logits = module(input_ids=batch.inputs, attention_mask=mask, use_cache=False).logits
            return _summed(logits, batch.labels)

        def before(part: Ints) -> torch.Tensor:
            with torch.no_grad(), module.disable_adapter():
                return nll(part)

        def unlearn() -> None:
            module.train()
            weights, optimizer = _optimizer(module)
            known = torch.zeros(len(task.forget))
            if ahead:
                for start in range(0, len(known), _BATCH):
                    part = np.arange(start, min(start + _BATCH, len(known)))
                    known[torch.from_numpy(part)] = before(part)
            for gone, kept in batches:
                reference = known[torch.from_numpy(gone)] if ahead else before(gone)
                behind = settings.beta * (nll(gone) - reference)
                forget = -nn.functional.logsigmoid(behind).mean() * 2 / settings.beta
                batch = task.retain.batch(kept, task.pad)
                retain = module(
                    input_ids=batch.inputs,
                    attention_mask=_mask(task.retain, kept, batch),
                    labels=batch.labels,
                    use_cache=False,
                ).loss
                (settings.alpha * forget + (1 - settings.alpha) * retain).backward()
                nn.utils.clip_grad_norm_(weights, _CLIP)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        return unlearn

    return prepare


def _summed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return what each answer costs, in nats, shape (sequences,)."""
    tokens = nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none"
    )
    return tokens.sum(dim=1)
