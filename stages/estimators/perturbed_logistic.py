"""Logistic regression that rows can be taken out of with a certificate.

A random linear term in the objective hides what the removal of a few rows leaves of them in the
weights (Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020, section 3.2;
objective perturbation is Chaudhuri, Monteleoni and Sarwate's, JMLR 2011). Over n rows (x, y), with
y = +-1 and |x| <= 1,

    L(w) = sum_i [ log(1 + exp(-y_i <w, x_i>)) + lambda/2 |w|^2 ] + <b, w>,    b ~ N(0, sigma^2)

is made as small as floating point allows. With more than two classes, each has such a problem
against the rest, with noise of its own.

The noise is drawn from the key, and no file holds it: who knows it can take it off.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn
from unlearn.stages.config.train import PerturbedLogisticOptions, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, FloatArray, SliceData
from unlearn.stages.estimators.linear import LinearScores
from unlearn.stages.estimators.torch_machine import be_deterministic
from unlearn.stages.estimators.torch_state import module_bytes

#: Norm of the gradient at which training has arrived.
_ARRIVED = 1e-9
#: Norm of the gradient, per row, that training must not end above.
_TOO_FAR = 1e-8
_STEPS = 200
_SMALLEST_STEP = 1e-8
_TWO = 2


class PerturbedLogistic(LinearScores):
    """The model: a linear score for each class against the rest, or one where there are two.

    Its inputs are as `bounded` returns them. The softmax of its answers is the model's
    probabilities: with two classes the sigmoid of the score, with more the sigmoids divided by
    their sum.

    Parameters
    ----------
    inputs, classes
        Number of columns of the bounded inputs, and of classes.
    """

    residual: torch.Tensor

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        scores = 1 if classes == _TWO else classes
        self.weight = nn.Parameter(torch.zeros(scores, inputs, dtype=torch.float64))
        self.register_parameter("bias", None)
        # Norm of the gradient of the objective: how far from its minimum training stopped.
        self.register_buffer("residual", torch.zeros((), dtype=torch.float64))

    def answers(self, scores: torch.Tensor) -> torch.Tensor:
        """Return logarithms of the probabilities, but for a summand, shape (rows, classes)."""
        if self.classes == _TWO:
            return torch.cat([torch.zeros_like(scores), scores], dim=1)
        return nn.functional.logsigmoid(scores)

    def draw(self, seed: int) -> None:
        """Draw new weights, as torch draws those of a linear layer."""
        generator = torch.Generator().manual_seed(seed)
        bound = self.weight.shape[1] ** -0.5
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.residual.zero_()


def bounded(inputs: FloatArray) -> npt.NDArray[np.float64]:
    """Return rows of norm 1 at most, with a constant for the intercept.

    A row x becomes (x / max(1, |x|), 1) / sqrt(2): a row at a time, so that none says anything of
    another.

    Parameters
    ----------
    inputs
        Finite, shape (rows, width).

    Returns
    -------
    array
        Shape (rows, width + 1).
    """
    rows = np.asarray(inputs, dtype=np.float64)
    # By the largest number first, which leaves long rows long: squares of large ones are infinite.
    rows = rows / np.maximum(1.0, np.abs(rows).max(axis=1, initial=0.0, keepdims=True))
    rows = rows / np.maximum(1.0, np.linalg.norm(rows, axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = np.hstack([rows, np.ones((len(rows), 1))]) / np.sqrt(2.0)
    return found


def draw_noise(seed: int, sigma: float, module: PerturbedLogistic) -> torch.Tensor:
    """Return the noise of an objective, shaped as the module's weights.

    Parameters
    ----------
    seed
        The one that training draws from before its first slice.
    sigma
        Standard deviation of each number.
    module
        Of the kind that is trained.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(sigma * draw.standard_normal(tuple(module.weight.shape)))


class PerturbedLogisticEstimator:
    """Training of the perturbed logistic regression.

    Parameters
    ----------
    train
        The settings; see `PerturbedLogisticOptions`.
    inputs, classes
        Number of input columns and of classes.
    """

    dtype: Dtype = np.float64
    has_probabilities = True
    min_rows = 1

    def __init__(self, train: TrainParams, inputs: int, classes: int) -> None:
        self._options = PerturbedLogisticOptions.model_validate(train.options)
        self._inputs = inputs
        self._classes = classes
        be_deterministic()

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Minimise the objective over all rows; what came before is of no use to it."""
        del state
        module = self.blank()
        noise = draw_noise(init_seed, self._options.sigma, module)
        inputs = torch.from_numpy(bounded(data.inputs))
        targets = torch.from_numpy(data.targets)
        penalty = self._options.regularization * len(inputs)
        gradients = []
        with torch.no_grad():
            for score, weight in enumerate(module.weight):
                # The one score of two classes is that of the second.
                signs = (targets == (1 if self._classes == _TWO else score)).double() * 2 - 1
                problem = _Problem(inputs, signs, penalty, noise[score])
                weight.copy_(_minimum(problem))
                gradients.append(problem.gradient(weight))
            module.residual.copy_(torch.stack(gradients).norm())
        if not float(module.residual) <= _TOO_FAR * max(1, len(inputs)):
            raise InputError(
                "train.model perturbed_logistic did not reach the minimum of its objective",
                "increase train.options.regularization, or decrease train.options.sigma",
            )
        return module_bytes(module)

    def export(self, state: bytes) -> bytes:
        """Return the weights, which are the whole state."""
        return state

    def load(self, model: bytes) -> PerturbedLogistic:
        """Return the module that a weights file holds."""
        module = self.blank()
        try:
            module.load_state_dict(load_tensors(model))
        except (RuntimeError, KeyError, SafetensorError):
            raise InputError("a model's weights do not fit the module they are for") from None
        return module

    def blank(self) -> PerturbedLogistic:
        """Return a module of this kind with weights of 0."""
        return PerturbedLogistic(self._inputs + 1, self._classes)

    def predictor(self, model: bytes) -> "PerturbedLogisticPredictor":
        """Return the model ready to answer."""
        return PerturbedLogisticPredictor(self.load(model))

    def describe(self) -> dict[str, Any]:
        """Return nothing: the noise stands in no file."""
        return {}


class PerturbedLogisticPredictor:
    """A fitted perturbed logistic regression."""

    def __init__(self, module: PerturbedLogistic) -> None:
        self._module = module.eval()

    @property
    def module(self) -> PerturbedLogistic:
        """The model."""
        return self._module

    def probabilities(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return the sigmoids of the scores, divided by their sum over the classes."""
        with torch.inference_mode():
            answers = self._module(torch.from_numpy(bounded(inputs)))
            found: npt.NDArray[np.float64] = torch.softmax(answers, dim=1).numpy()
        return found


class _Problem:
    """The objective of one score.

    Parameters
    ----------
    inputs, signs
        Bounded rows, and +-1 for each.
    penalty
        Weight of |w|^2 / 2.
    noise
        The linear term.
    """

    def __init__(
        self, inputs: torch.Tensor, signs: torch.Tensor, penalty: float, noise: torch.Tensor
    ) -> None:
        self._inputs = inputs
        self._signs = signs
        self._penalty = penalty
        self.noise = noise

    def gradient(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the gradient."""
        pulls = -self._signs * torch.sigmoid(-self._signs * (self._inputs @ weight))
        return self._inputs.T @ pulls + self._penalty * weight + self.noise

    def step(self, weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Return Newton's step; no numbers where rounding hides the penalty."""
        likely = torch.sigmoid(self._inputs @ weight)
        curvatures = (likely * (1 - likely)).unsqueeze(1)
        hessian = self._inputs.T @ (curvatures * self._inputs)
        hessian.diagonal().add_(self._penalty)
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if int(failed):
            return torch.full_like(weight, torch.nan)
        return -torch.cholesky_solve(gradient.unsqueeze(1), factor)[:, 0]


def _minimum(problem: _Problem) -> torch.Tensor:
    """Return where the objective is least: Newton's method, each step halved until it helps.

    The step is one of descent for the gradient's norm too, which, unlike the objective, tells
    points next to the minimum apart.
    """
    weight = torch.zeros_like(problem.noise)
    gradient = problem.gradient(weight)
    norm = float(gradient.norm())
    for _ in range(_STEPS):
        if norm <= _ARRIVED:
            break
        step, length = problem.step(weight, gradient), 1.0
        while True:
            candidate = weight + length * step
            gradient_there = problem.gradient(candidate)
            norm_there = float(gradient_there.norm())
            if norm_there <= (1 - length / 4) * norm:
                break
            length /= 2
            if length < _SMALLEST_STEP:
                return weight  # as near as rounding lets it come, or no step at all
        weight, gradient, norm = candidate, gradient_there, norm_there
    return weight
