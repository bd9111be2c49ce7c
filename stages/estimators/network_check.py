"""Whether the settings of a network suit the columns that it is to read."""

from unlearn.stages.config.params import Params
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError

#: Settings that the user's own loop would not follow by itself.
_OF_THE_BUILT_IN_LOOP = ("schedule", "label_smoothing", "clip", "precision", "average", "loss")


def check_network(params: Params) -> None:
    """Refuse settings of a network that have no effect on the features or the target.

    Raises
    ------
    InputError
        If pictures are to be changed and no feature is one, or classes are to be weighed and the
        target is a number; or a setting is for the built-in loop and there is another.
    """
    train, dataset = params.train, params.dataset
    if train.loop is not None:
        _check_loop(train)
    if "image" not in dataset.features.values():
        for name in ("augment", "pixels", "channels_last"):
            if name in train.network_settings:
                raise InputError(
                    f"train.{name}: is for pictures, and no feature of schema.yaml is an image",
                    "remove the setting",
                )
    if dataset.task == "regression":
        for name in ("label_smoothing", "class_weight"):
            if name in train.network_settings:
                raise InputError(
                    f"train.{name}: is for classes, and the target is a number",
                    "remove the setting",
                )


def _check_loop(train: TrainParams) -> None:
    """Refuse settings of the built-in loop where the user's own takes its place."""
    unused = [name for name in _OF_THE_BUILT_IN_LOOP if name in train.network_settings]
    if train.augment is not None and train.augment.mixup:
        unused.append("augment.mixup")
    if unused:
        raise InputError(
            f"train.{unused[0]}: is for the built-in training loop, and {train.loop} takes its "
            "place",
            "remove the setting, and do it in the loop",
        )


def check_resnet(params: Params) -> None:
    """Refuse what `check_network` does, and rows without a picture."""
    if "image" not in params.dataset.features.values() and not any(
        len(shape) == 3  # noqa: PLR2004 - channels, height and width
        for shape in (params.dataset.shapes or {}).values()
    ):
        raise InputError(
            "train.model: resnet reads pictures, and no feature of schema.yaml is one",
            "a picture is written as `photo: {kind: image, shape: [3, 32, 32]}`; mlp reads numbers",
        )
    check_network(params)
