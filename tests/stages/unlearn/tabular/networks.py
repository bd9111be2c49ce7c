"""Small networks, rows for them, and runs: what the methods for networks are tested on."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from torch import nn
from unlearn.stages.config.methods import METHODS, MethodSettings
from unlearn.stages.estimators.mlp import build_mlp
from unlearn.stages.unlearn.base.registry import Function
from unlearn.stages.unlearn.tabular.bad_teacher import bad_teacher
from unlearn.stages.unlearn.tabular.finetune import finetune
from unlearn.stages.unlearn.tabular.gradient_ascent import gradient_ascent
from unlearn.stages.unlearn.tabular.guard import Probes, TabularGuard
from unlearn.stages.unlearn.tabular.l1_sparse import l1_sparse
from unlearn.stages.unlearn.tabular.msg import msg
from unlearn.stages.unlearn.tabular.negative_gradient_plus import negative_gradient_plus
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.salun import salun
from unlearn.stages.unlearn.tabular.scrub import scrub
from unlearn.stages.unlearn.tabular.shrink_perturb import shrink_perturb
from unlearn.stages.unlearn.tabular.ssd import ssd

# As in production, and faster: these products are too small to be shared out.
torch.set_num_threads(1)

Array = npt.NDArray[np.float64]
NETWORK_METHODS: dict[str, Function] = {
    "gradient_ascent": gradient_ascent,
    "finetune": finetune,
    "negative_gradient_plus": negative_gradient_plus,
    "scrub": scrub,
    "ssd": ssd,
    "salun": salun,
    "bad_teacher": bad_teacher,
    "shrink_perturb": shrink_perturb,
    "msg": msg,
    "l1_sparse": l1_sparse,
}

#: Those that train on the retain rows alone: nothing in them ascends the forget loss.
RETAIN_METHODS = frozenset({"finetune", "shrink_perturb", "msg", "l1_sparse"})


class Line(nn.Module):
    """Two parameters w, and the logits 0 and w.x: the odds of class 1 are exp(w.x)."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = inputs @ self.weights
        return torch.stack([torch.zeros_like(score), score], dim=1)


class Normed(nn.Module):
    """A network with BatchNorm."""

    def __init__(self, inputs: int = 2, classes: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 5)
        self.norm = nn.BatchNorm1d(5)
        self.last = nn.Linear(5, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.last(torch.relu(self.norm(self.first(inputs))))
        return answers


def rows_of(inputs: list[list[float]], targets: list[int]) -> Rows:
    """Return rows in float64."""
    return Rows(torch.tensor(inputs, dtype=torch.float64), torch.tensor(targets))


def random_rows(count: int, *, seed: int, classes: int = 2, width: int = 2) -> Rows:
    """Return rows in float32 whose class depends on their first inputs."""
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, width, generator=draw)
    return Rows(inputs, inputs[:, :classes].argmax(dim=1))


def run_of(
    forget: Rows,
    retain: Rows,
    *,
    batch: int = 64,
    epochs: int = 1_000,
    active: bool = False,
    target: float | None = None,
    budget: float = 1.0,
    gradient_limit: float = 1e6,
    seed: int = 11,
    fresh: Callable[[], nn.Module] | None = None,
    objective: Objective | None = None,
) -> TabularProblem:
    """Return a problem whose guard asks about all rows, and is off unless it is asked for."""
    return TabularProblem(
        forget=forget,
        retain=retain,
        settings=None,
        model=nn.Identity(),
        seed=seed,
        batch=batch,
        epochs=epochs,
        objective=objective or Objective(),
        fresh=fresh or (lambda: Line([0.0, 0.0])),
        guard=TabularGuard(
            Probes(forget, retain, target),
            budget=budget,
            gradient_limit=gradient_limit,
            active=active,
            # Whatever it costs: what is tested is what the guard does when it looks.
            share=math.inf,
        ),
    )


def settings_for(name: str, **values: Any) -> Any:
    """Return a method's settings, these and the defaults."""
    assert name in METHODS["tabular"]
    return getattr(MethodSettings.model_validate({name: values}), name)


def sigmoid(score: Array) -> Array:
    """Return the odds' probability."""
    answer: Array = 1 / (1 + np.exp(-score))
    return answer


def loss_gradient(weights: Array, rows: Rows) -> Array:
    """Return the gradient of a `Line`'s mean cross-entropy, written out: (p - y) x."""
    inputs, targets = rows.inputs.numpy(), rows.targets.numpy()
    answer: Array = ((sigmoid(inputs @ weights) - targets)[:, None] * inputs).mean(axis=0)
    return answer


def divergence_gradient(weights: Array, teacher: Array, inputs: Array, temperature: float) -> Array:
    """Return the gradient of a `Line`'s mean KL from a teacher, written out: (q - p) x / T."""
    student = sigmoid(inputs @ weights / temperature)
    wanted = sigmoid(inputs @ teacher / temperature)
    answer: Array = ((student - wanted)[:, None] * inputs / temperature).mean(axis=0)
    return answer


def weights_of(model: nn.Module) -> Array:
    """Return a `Line`'s two parameters."""
    answer: Array = next(iter(model.parameters())).detach().numpy().copy()
    return answer


def loss_of(model: nn.Module, rows: Rows) -> float:
    """Return the mean cross-entropy in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(rows.inputs).double(), rows.targets))


def accuracy_of(model: nn.Module, rows: Rows) -> float:
    """Return the share of right answers in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return float((model(rows.inputs).argmax(dim=1) == rows.targets).double().mean())


def state_bytes(model: nn.Module) -> dict[str, bytes]:
    """Return every weight and buffer as bytes."""
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


@dataclass(frozen=True)
class Trained:
    """A network that knows its rows by heart, and rows that it never saw."""

    model: nn.Module
    forget: Rows
    retain: Rows
    unseen: Rows

    @property
    def original(self) -> nn.Module:
        """A copy, to be changed."""
        return copy.deepcopy(self.model)

    @property
    def target(self) -> float:
        """The loss of unseen rows."""
        return loss_of(self.model, self.unseen)

    def run(self, **values: Any) -> TabularProblem:
        """Return a guarded run on these rows."""
        given = {"active": True, "target": self.target, "budget": 0.02, "gradient_limit": 100.0}
        fresh = {"fresh": lambda: _mlp(seed=77)}
        return run_of(self.forget, self.retain, **{**given, **fresh, **values})


@cache
def trained_on_digits() -> Trained:
    """Return a network trained on 340 pictures of digits, 40 of which are to be forgotten."""
    pictures = load_digits()
    order = np.random.default_rng(5).permutation(len(pictures.target))
    inputs = torch.from_numpy(pictures.data[order] / 16).float()
    targets = torch.from_numpy(pictures.target[order]).long()
    forget = Rows(inputs[:40], targets[:40])
    retain = Rows(inputs[40:340], targets[40:340])
    unseen = Rows(inputs[340:], targets[340:])
    seen = Rows(inputs[:340], targets[:340])
    model = _mlp(seed=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(40):
        draw = torch.Generator().manual_seed(epoch)
        for index in torch.split(torch.randperm(340, generator=draw), 64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[index]), seen.targets[index])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
    return Trained(model, forget, retain, unseen)


def _mlp(*, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_mlp(64, 10, hidden=[32])
