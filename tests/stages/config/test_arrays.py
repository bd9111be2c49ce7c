"""Features that are arrays: how schema.yaml writes them, and what is refused."""

from typing import Any

import pytest
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.rows.shard_file import Layout

from tests.stages.conftest import KEY

PHOTO = {"kind": "image", "shape": [3, 8, 8]}
SPECTRUM = {"kind": "tensor", "shape": [16]}


def settings(features: dict[str, Any], **train: Any) -> dict[str, Any]:
    return {
        "algorithm": ALGORITHM,
        "key_check": KEY.check,
        "dataset": {
            "path": "data/dataset",
            "id": "id",
            "target": "label",
            "classes": ["a", "b"],
            "features": features,
        },
        "sharding": {"shards": ["s000", "s001"], "slices": 1, "holdout": 0.2},
        "aggregate": {"rule": "mean_probability"},
        "train": {"model": "net.py:build", **train},
    }


def test_shapes_are_part_of_the_features() -> None:
    written = {"photo": {**PHOTO, "resize": True}, "age": "numeric", "spectrum": SPECTRUM}
    dataset = check_params(settings(written)).dataset
    assert dataset.features == {"photo": "image", "age": "numeric", "spectrum": "tensor"}
    assert dataset.shapes == {"photo": [3, 8, 8], "spectrum": [16]}
    assert dataset.resized == ["photo"]
    assert dataset.features_as_written == written
    again = DatasetParams.model_validate(dataset.model_dump(mode="json"))
    assert again == dataset


def test_a_layout_knows_the_bytes_of_each_array() -> None:
    layout = Layout.of(check_params(settings({"photo": PHOTO, "spectrum": SPECTRUM})).dataset)
    assert layout.type_of("photo").byte_width == 192
    assert layout.type_of("spectrum").byte_width == 64
    assert Layout.from_json(dict(layout.as_json())) == layout


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("image", "'photo' is image and has no shape"),
        ({"kind": "image"}, "'photo': shape: field required"),
        ({"kind": "picture", "shape": [3, 8, 8]}, "'photo': kind: input should be"),
        ({"kind": "image", "shape": [8, 8]}, r"not \[channels, height, width\]"),
        ({"kind": "image", "shape": [2, 8, 8]}, "1, 3 or 4 channels"),
        ({"kind": "image", "shape": [3, 0, 8]}, "greater than or equal to 1"),
        ({"kind": "image", "shape": [3, 4096, 4096]}, "more than 16 MiB"),
        ({"kind": "tensor", "shape": [3], "resize": True}, "is no image, so it cannot be resized"),
        ({"kind": "image", "shape": [3, 8, 8], "colour": 1}, "'photo': colour: extra inputs"),
    ],
)
def test_a_wrong_array_is_one_clear_line(feature: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_params(settings({"photo": feature}))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("model", ["mlp", "exact_forest", "sklearn.naive_bayes.GaussianNB"])
def test_models_that_read_columns_refuse_arrays(model: str) -> None:
    with pytest.raises(InputError, match="reads columns, and the feature 'photo' is an array"):
        check_params(settings({"photo": PHOTO}, model=model))


def test_models_that_are_no_networks_refuse_the_settings_of_networks() -> None:
    with pytest.raises(InputError, match="train.clip: mlp does not have this setting"):
        check_params(settings({"age": "numeric"}, model="mlp", clip=1.0))


def test_settings_of_networks_are_recorded_where_they_are_set() -> None:
    plain = TrainParams.model_validate({"model": "net.py:build"})
    assert not {"clip", "schedule", "augment", "freeze"} & plain.model_dump(mode="json").keys()
    chosen = {"model": "net.py:build", "clip": 1.0, "augment": {"flip": True}}
    found = TrainParams.model_validate(chosen).model_dump(mode="json")
    assert found["clip"] == 1.0
    assert found["augment"]["flip"] is True
    assert TrainParams.model_validate(found) == TrainParams.model_validate(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("value", ["my_loss", "../my.py:loss", "/my.py:loss", "my.txt:loss"])
def test_an_own_function_is_in_a_file_of_the_project(value: str) -> None:
    with pytest.raises(InputError, match="train.loss: must be"):
        check_params(settings({"photo": PHOTO}, loss=value))
