"""Representation misdirection: what a model thinks of forget text is led astray."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from unlearn.stages.config.text import RmuSettings
from unlearn.stages.text.losses import rmu_direction, rmu_forget, rmu_retain
from unlearn.stages.text.sequences import Ints, Sequences
from unlearn.stages.unlearn.base.problem import NotApplicableError, draws
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.descent import Descent, Objective, Weighs, both_sides, descend
from unlearn.stages.unlearn.text.problem import TextProblem
from unlearn.stages.unlearn.text.tuned import Tuned


def rmu(problem: TextProblem) -> None:
    """Push activations of forget text to strength * u, and keep those of retain text.

    After one layer, `depth` of the way up; see `losses.rmu_forget` and `losses.rmu_retain`. All
    tokens count, prompts too, as in the authors' code. What is trained lies in that layer or below
    it (Li et al., "The WMDP Benchmark", ICML 2024, section 4).

    Costs up to `epochs` passes over the forget rows and over as many retain rows, these by the
    tuned model too.

    Raises
    ------
    NotApplicableError
        If the layers of the model are not to be found, or nothing in or below that one is trained.
    """
    tuned, settings = problem.tuned, problem.settings
    path, layers = find_layers(tuned.module)
    number = min(int(settings.depth * len(layers)), len(layers) - 1)
    inside = re.compile(rf"{re.escape(path)}\.(\d+)\.")

    def trains(name: str) -> bool:
        match = inside.match(name)
        # Tables of tokens lie below, but are often those of the head as well.
        return match is not None and int(match[1]) <= number

    tuned.restrict(trains)
    if not tuned.weights:
        raise NotApplicableError("unlearn.language.adapter is on no layer at or below rmu's depth")
    tuned.keep()
    problem.guard.watch()
    size = int(tuned.module.config.hidden_size)  # type: ignore[union-attr, arg-type]  # of transformers
    direction = rmu_direction(size, draws(problem, "direction"))

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        astray = torch.zeros((), device=tuned.device)
        if len(forgotten):
            activations, mask = _activations(tuned, problem.forget, forgotten, number)
            astray = rmu_forget(activations, direction, settings.strength, mask)
        problem.ledger.count("retain", len(retained))  # once by the tuned model, by `descend`
        moved, others = _activations(tuned, problem.retain, retained, number)
        with tuned.reference() as module:
            frozen, _ = _activations(tuned, problem.retain, retained, number, module)
        return astray, rmu_retain(moved, frozen, others)

    objective = Objective(
        settings.alpha, both, _by_position(problem.forget), _by_position(problem.retain)
    )
    # The tuned model reads the retain rows as well.
    epochs = problem.epochs_of(3 * len(problem.forget))
    descend(problem, objective, Descent(epochs, both_sides(problem)))
    problem.guard.settle()


def find_layers(module: Any) -> tuple[str, nn.ModuleList]:
    """Return the name of a model's list of layers, and the list.

    Raises
    ------
    NotApplicableError
        If there is no list of as many modules as the configuration says that the model has layers.
    """
    count = getattr(module.config, "num_hidden_layers", None)
    for name, found in module.named_modules():
        if isinstance(found, nn.ModuleList) and len(found) == count:
            return name, found
    raise NotApplicableError("the layers of this kind of model are not to be found")


def _activations(
    tuned: Tuned, sequences: Sequences, indices: Ints, number: int, module: nn.Module | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output of a layer, shape (b, t, h), and which positions count, (b, t)."""
    chosen: Any = tuned.module if module is None else module
    batch = tuned.batch(sequences, indices)
    with _behind(find_layers(chosen)[1][number]) as seen:
        tuned.forward(batch.inputs, module)
    lengths = torch.from_numpy(sequences.lengths[indices])
    mask = torch.arange(batch.inputs.shape[1])[None, :] < lengths[:, None]
    return seen[0], mask.to(tuned.device)


@contextmanager
def _behind(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect what a layer returns, for as long as this lasts."""
    seen: list[torch.Tensor] = []

    def take(_layer: nn.Module, _inputs: object, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = layer.register_forward_hook(take)
    try:
        yield seen
    finally:
        handle.remove()


def _by_position(sequences: Sequences) -> Weighs:
    lengths = sequences.lengths
    return lambda indices: float(lengths[indices].sum())


register(Method("rmu", "text", RmuSettings, rmu))
