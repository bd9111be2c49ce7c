"""Influence functions: one Newton step on the retain rows' objective.

    w - H_r^-1 * grad L_retain(w)

L is training's own objective, its penalty included, and H_r its Hessian on the retain rows at w. At
a minimum of L over all rows the gradients of the two sides cancel, and the step is the sum of the
forget rows' gradients times the inverse Hessian: Koh and Liang, "Understanding Black-box
Predictions via Influence Functions", ICML 2017, equation (2) and section 2.1, for a group of rows;
Guo et al., ICML 2020, section 3.1. On a squared loss the step ends at the retrained model.

Linear models have the Hessian solved exactly. For networks, which are not convex, the Gauss-Newton
matrix replaces it (Martens, "Deep learning via Hessian-free optimization", ICML 2010, section 4.2;
Bae et al., "If Influence Functions are the Answer, Then What is the Question?", NeurIPS 2022,
section 2.2): it has no negative curvature, and is the Hessian where outputs are linear in the
weights. The mean matrix is damped, and the system solved by conjugate gradients.

Passes: the forget rows are never read; the retain rows once for the gradient, and once for the
Hessian or for each iteration.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from unlearn.stages.config.methods import InfluenceSettings
from unlearn.stages.estimators.linear import LinearScores
from unlearn.stages.unlearn.base.problem import NotApplicableError
from unlearn.stages.unlearn.base.ranges import Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows, piece_size

#: Rows whose graph is in memory together.
_PIECE = 1024


def influence(problem: TabularProblem) -> None:
    """Take the step.

    The forget rows are not read.

    Raises
    ------
    NotApplicableError
        If the step is not finite.
    """
    model, retain = problem.model, problem.retain
    settings: InfluenceSettings = problem.settings
    model.eval()  # neither dropout nor a batch's own statistics
    system = _System(model, retain, problem.objective)
    gradient = system.gradient()
    problem.ledger.count("retain", len(retain))
    if system.is_linear and system.size <= settings.exact_parameters:
        step = _solve(system.hessian(), gradient)
        problem.ledger.count("retain", len(retain))
        problem.facts |= {"solver": "exact"}
    else:
        damping = 0.0 if system.is_linear else settings.damping
        step, iterations, left = _conjugate_gradients(
            lambda vector: system.product(vector) + damping * len(retain) * vector,
            gradient,
            settings,
        )
        problem.ledger.count("retain", iterations * len(retain))
        problem.facts |= {
            "solver": "conjugate_gradients",
            "damping": damping,
            "iterations": iterations,
            "left": left,
        }
    if not bool(torch.isfinite(step).all()):
        raise NotApplicableError("the Newton step of this model is not finite")
    system.subtract(step)


class _System:
    """Gradient and curvature of the objective on rows, all weights being one float64 vector.

    The answers are a function of scores, and these are linear in the weights of linear models. Of
    other models the answers themselves are the scores.

    Parameters
    ----------
    model, rows, objective
        What the objective is of, and on what.
    """

    def __init__(self, model: nn.Module, rows: Rows, objective: Objective) -> None:
        named = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._weights = list(named.values())
        self._rows = rows
        self._objective = objective
        self._layer = _layer(model)
        self._scores: Callable[[torch.Tensor], torch.Tensor] = model
        self._answers: Callable[[torch.Tensor], torch.Tensor] = lambda scores: scores
        if isinstance(model, LinearScores):
            self._scores, self._answers = model.scores, model.answers
        penalty, covered = objective.penalty(len(rows)), objective.penalized
        self._penalties = self._flat(
            torch.full_like(value, penalty if covered is None or name in covered else 0.0)
            for name, value in named.items()
        )
        self._noise = self._flat(
            objective.noise.get(name, torch.zeros_like(value)) for name, value in named.items()
        )

    @property
    def is_linear(self) -> bool:
        """Whether the scores are linear in the weights, and so the objective convex."""
        return self._layer is not None

    @property
    def size(self) -> int:
        """Number of weights."""
        return len(self._penalties)

    def gradient(self) -> torch.Tensor:
        """Return the objective's gradient."""
        total = self._penalties * self._flat(self._weights) + self._noise
        for piece in self._pieces():
            losses = self._losses(self._scores(piece.inputs), piece)
            total += self._flat(self._grad(losses.sum()))
        return total

    def product(self, vector: torch.Tensor) -> torch.Tensor:
        """Return the Gauss-Newton matrix, penalty included, times a vector."""
        tangents = self._split(vector)
        total = self._penalties * vector
        for piece in self._pieces():
            scores = self._scores(piece.inputs)
            # The Jacobian times the tangents, as the derivative of its transpose times a dual.
            dual = torch.zeros_like(scores, requires_grad=True)
            pulled = self._grad(scores, dual, create_graph=True)
            moved = torch.autograd.grad(pulled, dual, tangents, materialize_grads=True)[0]
            total += self._flat(self._grad(scores, self._curved(scores, piece, moved)))
        return total

    def hessian(self) -> torch.Tensor:
        """Return the Hessian of a linear model, shape (size, size).

        It is a sum over rows of A x (x, 1)(x, 1)^T, A being the Hessian by the row's scores.
        """
        if self._layer is None:
            raise AssertionError("only the Hessian of linear models is written down")
        weight, bias = self._layer
        scores, inputs = weight.shape
        width = inputs if bias is None else inputs + 1
        blocks = torch.zeros(scores, width, scores, width, dtype=torch.float64)
        for piece in self._pieces():
            at = self._scores(piece.inputs)
            design = piece.inputs.double().cpu()
            if bias is not None:
                design = torch.hstack([design, torch.ones_like(design[:, :1])])
            for one in range(scores):
                unit = torch.zeros_like(at)
                unit[:, one] = 1.0
                curves = self._curved(at, piece, unit).double().cpu()
                for other in range(scores):
                    blocks[one, :, other, :] += design.T @ (curves[:, other, None] * design)
        # Of each score its inputs and its intercept; in the module, all intercepts come last.
        places = torch.arange(scores * width).reshape(scores, width)
        order = torch.cat([places[:, :inputs].flatten(), places[:, inputs:].flatten()])
        flat = blocks.reshape(scores * width, scores * width)[order][:, order]
        flat.diagonal().add_(self._penalties)
        return flat

    def subtract(self, step: torch.Tensor) -> None:
        """Take a step off the weights."""
        with torch.no_grad():
            for value, piece in zip(self._weights, self._split(step), strict=True):
                value.sub_(piece)

    def _pieces(self) -> Iterator[Rows]:
        size = piece_size(self._rows.inputs, _PIECE)
        for index in torch.split(torch.arange(len(self._rows)), size):
            yield self._rows.take(index.to(self._rows.targets.device))

    def _losses(self, scores: torch.Tensor, piece: Rows) -> torch.Tensor:
        return self._objective.losses(self._answers(scores), piece.targets)

    def _curved(self, scores: torch.Tensor, piece: Rows, vector: torch.Tensor) -> torch.Tensor:
        """Return the Hessian of each row's loss by its scores, times the row's vector."""
        at = scores.detach().requires_grad_()
        loss = self._losses(at, piece).sum()
        slope = torch.autograd.grad(loss, at, create_graph=True)[0]
        return torch.autograd.grad(slope, at, vector, materialize_grads=True)[0]

    def _grad(
        self, value: torch.Tensor, along: torch.Tensor | None = None, *, create_graph: bool = False
    ) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(
            value, self._weights, along, create_graph=create_graph, materialize_grads=True
        )

    @staticmethod
    def _flat(values: Iterable[torch.Tensor]) -> torch.Tensor:
        return torch.cat([value.detach().double().cpu().flatten() for value in values])

    def _split(self, vector: torch.Tensor) -> list[torch.Tensor]:
        pieces = torch.split(vector, [value.numel() for value in self._weights])
        return [
            piece.reshape(value.shape).to(value)
            for piece, value in zip(pieces, self._weights, strict=True)
        ]


class _Layer(NamedTuple):
    weight: torch.Tensor
    bias: torch.Tensor | None


def _layer(model: nn.Module) -> _Layer | None:
    """Return weight and bias of a model that is one linear layer; None for others."""
    found: nn.Module = model
    while isinstance(found, nn.Sequential) and len(found) == 1:
        found = found[0]
    # Not of a subclass, which may do anything with its weights.
    if not isinstance(found, LinearScores) and type(found) is not nn.Linear:
        return None
    if not all(value.requires_grad for value in found.parameters()):
        return None
    return _Layer(found.weight, found.bias)


def _solve(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Return the shortest solution.

    Softmax does not change when all intercepts change by the same number: along this direction the
    Hessian is 0, and so is the gradient.
    """
    if not bool(torch.isfinite(matrix).all()):
        return torch.full_like(vector, torch.nan)
    values, vectors = torch.linalg.eigh(matrix)
    smallest = len(vector) * torch.finfo(torch.float64).eps * values.abs().max()
    inverse = torch.where(values > smallest, 1.0 / values, 0.0)
    solution: torch.Tensor = vectors @ (inverse * (vectors.T @ vector))
    return solution


def _conjugate_gradients(
    product: Callable[[torch.Tensor], torch.Tensor],
    wanted: torch.Tensor,
    settings: InfluenceSettings,
) -> tuple[torch.Tensor, int, float]:
    """Solve a system by conjugate gradients (Hestenes and Stiefel 1952).

    Where rounding shows a direction without curvature, what was found before it is returned.

    Returns
    -------
    tuple
        The solution, how many products it took, and the norm of what is left of the right side,
        as a share.
    """
    found = torch.zeros_like(wanted)
    left = direction = wanted
    size = float(wanted.norm())
    taken = 0
    # Written so that NaN propagates, and shows in the solution.
    while taken < settings.iterations and not float(left.norm()) <= settings.tolerance * size:
        image = product(direction)
        taken += 1
        curvature = direction @ image
        if float(curvature) <= 0:
            break
        length = (left @ left) / curvature
        found = found + length * direction
        before, left = left, left - length * image
        direction = left + (left @ left) / (before @ before) * direction
    return found, taken, float(left.norm()) / size if size else 0.0


register(
    Method(
        "influence",
        "tabular",
        InfluenceSettings,
        influence,
        # For networks only; linear models are solved exactly. Less than this damps nothing, and
        # with more the step is one of plain descent, and short.
        ranges={"damping": Span(1e-4, 10.0, logarithmic=True)},
    )
)
