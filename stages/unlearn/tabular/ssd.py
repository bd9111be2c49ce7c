"""Selective synaptic dampening: weaken the weights that matter to the forget rows above all."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from unlearn.stages.config.methods import SsdSettings
from unlearn.stages.unlearn.base.ranges import Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows

#: Maximum number of values in the gradients of one batch of rows: what fits a processor's cache.
_AT_ONCE = 2**19

Gradients = dict[str, torch.Tensor]


def ssd(problem: TabularProblem) -> None:
    """Dampen each weight by how much more it matters to the forget rows than to all rows.

        F_S[k] = mean_{i in S} (d log p(y_i | x_i; w) / d w_k)^2
        where F_forget[k] > selection * F_all[k]:
            w_k <- min(dampening * F_all[k] / F_forget[k], 1) * w_k

    `all` is forget and retain rows together, what the model was trained on. The Fisher information
    is that of single rows: the square of a batch's gradient would be another, smaller number, in
    which rows cancel each other out. Foster, Schoepf and Brintrup, "Fast Machine Unlearning
    Without Retraining Through Selective Synaptic Dampening", AAAI 2024, section 3 (selection and
    dampening; Algorithm 1). The model answers in evaluation mode.

    F_all is at least the forget rows' share of F_forget: where they are 1/`selection` of all rows
    or more, no weight is ever selected. `weights_dampened` in the report says how many were.

    No steps, and so no guard. Costs one pass over either side, row by row.
    """
    model, forget, retain = problem.model, problem.forget, problem.retain
    settings: SsdSettings = problem.settings
    model.eval()
    of_forget = _summed_squares(model, forget, problem)
    of_retain = _summed_squares(model, retain, problem)
    problem.ledger.count("forget", len(forget))
    problem.ledger.count("retain", len(retain))
    dampened = 0
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, total in of_forget.items():
            mine = total / len(forget)
            everyone = (total + of_retain[name]) / (len(forget) + len(retain))
            selected = mine > settings.selection * everyone
            # Where `mine` is 0 nothing is selected: no division by it is used.
            factor = (settings.dampening * everyone / mine).clamp(max=1.0)
            weight = parameters[name]
            weight.copy_(torch.where(selected, (weight * factor).to(weight.dtype), weight))
            dampened += int(selected.sum())
    problem.facts["weights_dampened"] = dampened
    problem.facts["weights"] = sum(value.numel() for value in parameters.values())


def _summed_squares(model: nn.Module, rows: Rows, problem: TabularProblem) -> Gradients:
    """Return the sum over the rows of each row's squared gradient, in float64."""
    parameters = _trainable(model)
    numbers = sum(value.numel() for value in parameters.values())
    size = max(1, min(len(rows), _AT_ONCE // max(1, numbers)))
    totals = {n: torch.zeros_like(p, dtype=torch.float64) for n, p in parameters.items()}
    for piece in rows.pieces(size):
        for gradients in _per_row(model, piece, problem):
            for name, value in gradients.items():
                totals[name] += value.square().sum(dim=0, dtype=torch.float64)
    return totals


def _per_row(model: nn.Module, rows: Rows, problem: TabularProblem) -> Iterator[Gradients]:
    """Yield the gradients of every row's loss, each of shape (rows, *weight).

    In one batch if the module's operations allow that, otherwise row by row: in-place operations,
    and branches that depend on the values, do not.
    """
    try:
        found = _at_once(model, rows, problem)
    except (RuntimeError, ValueError, NotImplementedError):
        # Torch's error for what cannot be batched; an error of the module itself shows again below.
        yield from _one_by_one(model, rows, problem)
    else:
        yield found


def _at_once(model: nn.Module, rows: Rows, problem: TabularProblem) -> Gradients:
    fixed = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    fixed |= {name: value.detach() for name, value in model.named_buffers()}

    def loss(weights: Gradients, inputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        answers = functional_call(model, (weights, fixed), (inputs.unsqueeze(0),))
        return problem.objective.losses(answers, target.unsqueeze(0)).sum()

    weights = {name: value.detach() for name, value in _trainable(model).items()}
    found: Gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weights, rows.inputs, rows.targets)
    return found


def _one_by_one(model: nn.Module, rows: Rows, problem: TabularProblem) -> Iterator[Gradients]:
    parameters = _trainable(model)
    for row in rows.pieces(1):
        loss = problem.objective.losses(model(row.inputs), row.targets).sum()
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        yield {
            name: gradient.unsqueeze(0)
            for name, gradient in zip(parameters, found, strict=True)
            if gradient is not None
        }


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


register(
    Method(
        "ssd",
        "tabular",
        SsdSettings,
        ssd,
        # Below a selection of 1 nearly every weight counts as the forget rows' own, beyond 100
        # hardly any does. A weight shrinks only where it matters more than `dampening` times as
        # much: beyond 5 few do.
        ranges={
            "selection": Span(1.0, 100.0, logarithmic=True),
            "dampening": Span(0.1, 5.0, logarithmic=True),
        },
    )
)
