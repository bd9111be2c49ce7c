"""Settings of networks that have no effect are refused by their name."""

from typing import Any

import pytest
from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.check import check_model
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import TrainingSize

from tests.stages.conftest import make_params

PICTURE = {"photo": {"kind": "image", "shape": [3, 8, 8]}}


def params_of(features: dict[str, Any] | None, **train: Any) -> Params:
    return make_params(train={"model": "resnet", **train}, features=features)


def test_settings_that_suit_are_accepted() -> None:
    check_model(params_of(PICTURE, augment={"flip": True}, class_weight="balanced"), "params.yaml")
    check_model(params_of(None, model="net.py:build", clip=1.0), "params.yaml")


@pytest.mark.parametrize(
    ("features", "train", "message"),
    [
        (None, {}, "resnet reads pictures, and no feature of schema.yaml is one"),
        ({"spectrum": {"kind": "tensor", "shape": [9]}}, {}, "resnet reads pictures"),
        (None, {"model": "mlp", "clip": 1.0}, "train.clip: mlp does not have this setting"),
        (PICTURE, {"model": "mlp"}, "mlp reads columns, and the feature 'photo' is an array"),
        (
            None,
            {"model": "net.py:build", "augment": {"flip": True}},
            "train.augment: is for pictures, and no feature of schema.yaml is an image",
        ),
        (None, {"model": "net.py:build", "pixels": {"mean": [0.1]}}, "train.pixels: is for"),
        (PICTURE, {"options": {"width": 12}}, "train.options.width"),
        (PICTURE, {"options": {"norm": "layer"}}, "train.options.norm"),
    ],
)
def test_settings_without_effect_are_refused(
    features: dict[str, Any] | None, train: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_model(params_of(features, **train), "params.yaml")


def test_the_time_of_a_training_grows_with_pictures_width_and_epochs() -> None:
    seconds = find_spec("resnet").seconds

    def of(**changes: Any) -> float:
        given = {"rows": 1000, "inputs": 768, "epochs": 10, "options": {"width": 8}}
        size: dict[str, Any] = given | changes
        found = seconds(TrainingSize(model="resnet", classes=3, batch=32, **size))
        assert found is not None
        return found

    plain = of()
    assert of(rows=2000) == pytest.approx(2 * plain, rel=0.05)
    assert of(epochs=20) == pytest.approx(2 * plain)
    assert plain < of(inputs=3072) < 5 * plain
    assert plain < of(options={"width": 16}) < 5 * plain
