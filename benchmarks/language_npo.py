"""NPO as the stage has it, with and without its guard, against bare loops of the same forwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from unlearn.stages.config.text import AdapterOptions, LanguageMethodSettings, NpoSettings
from unlearn.stages.estimators.causal import TextSlice
from unlearn.stages.text.sequences import Ints, Sequences, ragged
from unlearn.stages.training.shard_model import ShardModel, describe_model
from unlearn.stages.unlearn.text.descent import both_sides
from unlearn.stages.unlearn.text.guard import Limits, TextGuard, TextProbes
from unlearn.stages.unlearn.text.npo import npo
from unlearn.stages.unlearn.text.problem import TextProblem
from unlearn.stages.unlearn.text.tuned import Tuned

from benchmarks.bare_loops import (
    AUTHORS,
    BATCH,
    CLIP,
    LAYOUT,
    RANK,
    RATE,
    SEED,
    Contender,
    compared,
    estimator_of,
    load_bare,
    mask_of,
    optimizer_of,
    ratios,
    rows_of,
    take_turns,
)
from benchmarks.harness import spread

#: Of the authors, how many are to be forgotten.
FORGOTTEN = 10

#: Contenders, and what the table calls them.
_STAGED = {"alone": "its steps alone", "off": "guard off", "on": "guard on"}


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
        tuned = Tuned(self.original, self.shared.adapter, self.base.parent, SEED)
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
            rows=rows_of(0, FORGOTTEN),
            settings=NpoSettings(),
            shared=self.shared,
            seed=SEED,
            # Enough that no share of them bounds the method's own.
            epochs=1_000,
            guard=TextGuard(tuned, probes, limits, active=guard == "on"),
        )

    def _probes(self, tuned: Tuned) -> TextProbes:
        """Return probes of as many sequences as the stage has."""
        prompts = tuned.encoder.prompts(rows_of(AUTHORS, AUTHORS + 1).slice(0, 4))
        generic = tuned.encoder.encode(rows_of(AUTHORS, AUTHORS + 3).slice(0, 24)).sequences
        return TextProbes(
            self.forget.first(48), self.retain.first(48), ragged([], [], []), generic, prompts
        )


def npo_lines(base: Path, size: str, epochs: int, pairs: int) -> list[list[str]]:
    """Return the lines of a size's table; see `language_speed`."""
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
        *cells, within = compared(pair, tokens)
        asking = spread(ratios(found["asking"].processor, found[name].processor), 3)
        lines.append([f"{size}, {said}", *cells, asking, within])
    return lines


def _npo_task(base: Path, epochs: int) -> _NpoTask:
    estimator = estimator_of(base, "causal_lm")
    state = estimator.fit_slice(None, TextSlice(ragged([], [], []), 0, lambda epoch: epoch), SEED)
    described = describe_model(estimator.train, LAYOUT, AUTHORS, estimator.describe())
    adapter = AdapterOptions(rank=RANK, alpha=2 * RANK)
    settings = LanguageMethodSettings(
        adapter=adapter, rate=RATE, epochs=epochs, batch=BATCH, clip=CLIP
    )
    return _NpoTask(
        base=base,
        original=ShardModel(described, estimator.export(state)),
        forget=estimator.encoder.encode(rows_of(0, FORGOTTEN)).sequences,
        retain=estimator.encoder.encode(rows_of(FORGOTTEN, AUTHORS)).sequences,
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
            mask = mask_of(task.forget, part, batch)
            logits = module(input_ids=batch.inputs, attention_mask=mask, use_cache=False).logits
            return _summed(logits, batch.labels)

        def before(part: Ints) -> torch.Tensor:
            with torch.no_grad(), module.disable_adapter():
                return nll(part)

        def unlearn() -> None:
            module.train()
            weights, optimizer = optimizer_of(module)
            known = torch.zeros(len(task.forget))
            if ahead:
                for start in range(0, len(known), BATCH):
                    part = np.arange(start, min(start + BATCH, len(known)))
                    known[torch.from_numpy(part)] = before(part)
            for gone, kept in batches:
                reference = known[torch.from_numpy(gone)] if ahead else before(gone)
                behind = settings.beta * (nll(gone) - reference)
                forget = -nn.functional.logsigmoid(behind).mean() * 2 / settings.beta
                batch = task.retain.batch(kept, task.pad)
                retain = module(
                    input_ids=batch.inputs,
                    attention_mask=mask_of(task.retain, kept, batch),
                    labels=batch.labels,
                    use_cache=False,
                ).loss
                (settings.alpha * forget + (1 - settings.alpha) * retain).backward()
                nn.utils.clip_grad_norm_(weights, CLIP)
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
