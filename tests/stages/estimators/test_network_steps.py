"""The settings of training that networks have: each does what it says, in the same bytes twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.network_loss import NetworkLoss, class_weights, training_weights
from unlearn.stages.estimators.packing import packing_of
from unlearn.stages.estimators.resnet import build_resnet
from unlearn.stages.estimators.schedules import rate_factors
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.estimators.torch_state import make_optimizer
from unlearn.stages.rows.outputs import Outputs

SHAPE, ROWS, BATCH, STEPS = (3, 8, 8), 21, 8, 7
PACKING = packing_of({"photo": ("image", SHAPE)}, columns=0)
_draw = np.random.default_rng(4)
INPUTS = _draw.integers(0, 256, (ROWS, PACKING.width), dtype=np.uint8)
TARGETS = _draw.integers(0, 3, ROWS)
OUTPUTS = Outputs(3, labels=("red", "green", "blue"))


def train_of(**settings: Any) -> TrainParams:
    given = {
        "model": "resnet",
        "options": {"width": 8},
        "batch": BATCH,
        "device": "cpu",
        "optimizer": {"name": "sgd", "rate": 0.1, "momentum": 0.9},
    }
    return TrainParams.model_validate(given | settings)


def data_of(**changes: Any) -> SliceData:
    given: dict[str, Any] = {"inputs": INPUTS, "targets": TARGETS, "new": ROWS, "steps": STEPS}
    return SliceData(**(given | {"seed": lambda epoch: 70 + epoch} | changes))


def trained(root: Path | None = None, data: SliceData | None = None, **settings: Any) -> bytes:
    estimator = TorchEstimator(train_of(**settings), PACKING, OUTPUTS, build_resnet, root=root)
    return estimator.fit_slice(None, data or data_of(), 9)


def weights_by_hand(**settings: Any) -> dict[str, torch.Tensor]:
    """Return the weights of a plain loop in PyTorch's own words."""
    train = train_of(**settings)
    torch.manual_seed(9)
    module = build_resnet(SHAPE, 3, **train.options)
    optimizer = make_optimizer(train.optimizer, list(module.parameters()))
    rate = train.optimizer.rate
    factor = rate_factors(train.schedule, STEPS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    weight = None
    if isinstance(train.class_weight, dict):
        weight = torch.tensor([train.class_weight.get(name, 1.0) for name in OUTPUTS.labels])
    pictures = (torch.from_numpy(INPUTS).float() / 255 - 0.5) / 0.5
    pictures, targets = pictures.view(-1, *SHAPE), torch.from_numpy(TARGETS)
    mean = torch.optim.swa_utils.AveragedModel(module, use_buffers=True)
    step = 0
    for epoch in range(3):
        torch.manual_seed(70 + epoch)
        for places in torch.split(torch.randperm(ROWS), BATCH):
            if step == STEPS:
                break
            losses = nn.functional.cross_entropy(
                module(pictures[places]),
                targets[places],
                reduction="none",
                label_smoothing=train.label_smoothing,
            )
            if weight is not None:
                losses = losses * weight[targets[places]]
            optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            if train.clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), train.clip)
            optimizer.step()
            schedule.step()
            step += 1
            if step > STEPS - round(train.average * STEPS):
                mean.update_parameters(module)
    assert rate == train.optimizer.rate
    return dict((mean.module if train.average else module).state_dict())


SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "cosine": {"schedule": {"name": "cosine", "warm_up": 0.3}},
    "step": {"schedule": {"name": "step", "every": 0.4, "factor": 0.5}},
    "one_cycle": {"schedule": {"name": "one_cycle"}, "optimizer": {"name": "adamw", "rate": 0.01}},
    "label_smoothing": {"label_smoothing": 0.2},
    "class_weight": {"class_weight": {"red": 5.0, "blue": 0.5}},
    "clip": {"clip": 0.3},
    "average": {"average": 3 / 7},
    "average of batch norm": {"average": 3 / 7, "options": {"width": 8, "norm": "batch"}},
    "channels_last": {"channels_last": True},
    "all": {
        "schedule": {"name": "cosine"},
        "label_smoothing": 0.1,
        "class_weight": {"green": 2.0},
        "clip": 0.5,
        "average": 4 / 7,
    },
}


@pytest.mark.parametrize("case", SETTINGS)
def test_training_ends_where_a_plain_loop_ends(case: str) -> None:
    settings = SETTINGS[case]

    found = trained(**settings)

    weights = {name: v for name, v in load(found).items() if name.startswith("model.")}
    expected = weights_by_hand(**settings)
    assert weights.keys() == {f"model.{name}" for name in expected}
    for name, value in expected.items():
        if value.is_floating_point():  # PyTorch averages counters, too
            torch.testing.assert_close(weights[f"model.{name}"], value, rtol=2e-3, atol=2e-4)
    assert trained(**settings) == found
    if case not in ("none", "channels_last"):
        others = {name: settings[name] for name in settings if name in ("options", "optimizer")}
        assert trained(**others) != found


def test_settings_of_networks_are_seen_in_the_second_slice_too() -> None:
    estimator = TorchEstimator(
        train_of(schedule={"name": "cosine"}, average=0.5), PACKING, OUTPUTS, build_resnet
    )
    first = estimator.fit_slice(None, data_of(inputs=INPUTS[:9], targets=TARGETS[:9]), 9)

    second = estimator.fit_slice(first, data_of(), 9)

    assert second == estimator.fit_slice(bytes(first), data_of(), 9)
    assert second != trained(schedule={"name": "cosine"}, average=0.5)
    # A schedule starts again in each slice, so that no slice depends on how long later ones are.
    assert estimator.fit_slice(first, data_of(steps=1), 9) != first


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_bfloat16_trains_another_model_the_same_each_time(norm: str) -> None:
    options = {"width": 8, "norm": norm}
    low = trained(precision="bfloat16", options=options)

    assert low == trained(precision="bfloat16", options=options)
    full = load(trained(options=options))
    for name, value in load(low).items():
        assert value.dtype == full[name].dtype
        if name.startswith("model.trunks.0.first.0"):
            assert float((value - full[name]).norm()) < 0.1 * float(full[name].norm())
    assert low != trained(options=options)


LOSSES = """
import torch

def squares(outputs, targets):
    truth = torch.nn.functional.one_hot(targets, outputs.shape[1])
    return ((outputs - truth) ** 2).sum(dim=1)

def same(outputs, targets):
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

def mean(outputs, targets):
    return squares(outputs, targets).mean()

def number(outputs, targets):
    return 1.0

def cut(outputs, targets):
    return squares(outputs.detach(), targets)

def fails(outputs, targets):
    raise TypeError(f"a row: {outputs.tolist()}")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "losses.py").write_text(LOSSES, encoding="utf-8")
    return tmp_path


def test_an_own_loss_is_what_is_made_small(project: Path) -> None:
    own = trained(project, loss="losses.py:same")
    for name, value in load(trained()).items():
        torch.testing.assert_close(load(own)[name], value, rtol=1e-3, atol=1e-4)

    squares = trained(project, loss="losses.py:squares")

    assert squares not in (trained(), own)
    assert squares == trained(project, loss="losses.py:squares")
    weighted = data_of(weights=np.linspace(0.1, 3.0, ROWS))
    assert trained(project, weighted, loss="losses.py:squares") != squares


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("mean", r"losses.py:mean returns the shape \(\) for 8 rows"),
        ("number", "losses.py:number returns a float in place of a tensor"),
        ("cut", "losses.py:cut returns losses without a gradient"),
        ("fails", r"losses.py:fails fails \(TypeError\)$"),
        ("absent", "losses.py has no function 'absent'"),
    ],
)
def test_an_own_loss_that_is_none_is_one_clear_line(
    function: str, message: str, project: Path
) -> None:
    with pytest.raises(InputError, match=message):
        trained(project, loss=f"losses.py:{function}")


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    train = train_of(class_weight="balanced")

    found = training_weights(train, OUTPUTS, TARGETS, None)

    assert found is not None
    np.testing.assert_allclose(found, compute_sample_weight("balanced", TARGETS))
    doubled = training_weights(train, OUTPUTS, TARGETS, np.full(ROWS, 2.0))
    assert doubled is not None
    np.testing.assert_allclose(doubled, 2 * found)


def test_class_weights_that_fit_no_class_are_one_clear_line() -> None:
    with pytest.raises(InputError, match="train: class_weight has 'gren', which is no class"):
        class_weights(train_of(class_weight={"gren": 2.0}), OUTPUTS, TARGETS)
    with pytest.raises(InputError, match="the target is a number"):
        class_weights(train_of(class_weight="balanced"), Outputs(), np.zeros(3))


def test_the_mean_of_a_loss_is_that_of_its_rows() -> None:
    answers, targets = torch.randn(9, 3), torch.arange(9) % 3
    for loss in (NetworkLoss(is_number=False, smoothing=0.2), NetworkLoss(is_number=False)):
        rows = loss.rows(answers, targets)
        assert rows.shape == (9,)
        torch.testing.assert_close(loss.mean(answers, targets, None), rows.mean())
        weights = torch.rand(9)
        torch.testing.assert_close(loss.mean(answers, targets, weights), (rows * weights).mean())


def test_a_frozen_backbone_is_in_no_state_and_no_model(tmp_path: Path) -> None:
    import hashlib

    from safetensors.torch import save_file

    torch.manual_seed(5)
    whole = build_resnet(SHAPE, 3, width=8, norm="batch").state_dict()
    save_file({n: v for n, v in whole.items() if not n.startswith("head.")}, tmp_path / "b.st")
    digest = hashlib.sha256((tmp_path / "b.st").read_bytes()).hexdigest()
    settings = {
        "freeze": {"weights": "b.st", "sha256": digest},
        "options": {"width": 8, "norm": "batch"},
    }
    estimator = TorchEstimator(train_of(**settings), PACKING, OUTPUTS, build_resnet, root=tmp_path)

    state = estimator.fit_slice(None, data_of(), 9)

    # Its batch normalisation is not trained: a row alone is no problem.
    assert estimator.min_rows == 1
    assert {name for name in load(state) if name.startswith("model.")} == {
        "model.head.weight",
        "model.head.bias",
    }
    model = estimator.export(state)
    assert set(load(model)) == {"head.weight", "head.bias"}
    again = TorchEstimator(train_of(**settings), PACKING, OUTPUTS, build_resnet, root=tmp_path)
    expected = estimator.predictor(model)
    assert (
        again.predictor(model).probabilities(INPUTS).tolist()  # type: ignore[union-attr]  # a classifier
        == expected.probabilities(INPUTS).tolist()  # type: ignore[union-attr]  # a classifier
    )
    lost = TorchEstimator(train_of(**settings), PACKING, OUTPUTS, build_resnet)
    with pytest.raises(InputError, match="b.st is needed"):
        lost.predictor(model)
