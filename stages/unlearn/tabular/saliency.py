"""Which weights the forget rows depend on most."""

import torch
from torch import nn
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows


def salient(
    model: nn.Module, forget: Rows, share: float, problem: TabularProblem
) -> dict[str, torch.Tensor]:
    """Return by parameter name which weights the forget rows' mean loss depends on most.

    Parameters
    ----------
    model
        Asked in evaluation mode.
    forget
        Read once.
    share
        Of all weights, how many; at least one.
    problem
        Its objective is differentiated, and its ledger counts the rows.
    """
    model.eval()
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for piece in forget.pieces(problem.batch):
        loss = problem.objective.losses(model(piece.inputs), piece.targets).sum() / len(forget)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                sums[name] += gradient
    problem.ledger.count("forget", len(forget))
    sizes = torch.cat([value.abs().flatten() for value in sums.values()])
    # Stable, so that equal gradients always fall the same way.
    order = torch.sort(sizes, descending=True, stable=True).indices
    chosen = torch.zeros_like(sizes, dtype=torch.bool)
    chosen[order[: max(1, round(share * len(sizes)))]] = True
    pieces = torch.split(chosen, [value.numel() for value in sums.values()])
    return {n: piece.view_as(sums[n]) for n, piece in zip(sums, pieces, strict=True)}
