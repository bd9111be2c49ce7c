"""Models of pictures and other arrays in a new project."""

import shlex
from collections.abc import Mapping

from unlearn.cli.init.request.request import InitRequest
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import FeatureTraining

#: The network that reads pictures of so many pixels, by default.
PICTURE_NETWORK = "resnet"
_LEAST_SIDE, _MOST_SIDE = 16, 64


def model_of_arrays(
    request: InitRequest, features: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[str, str | None]:
    """Return the model of a table with arrays, and why it is this one; see `choose_model`.

    Parameters
    ----------
    request
        What the user asks for.
    features, shapes
        Kind by feature, and the shape of each that is an array.

    Raises
    ------
    InputError
        If no built-in model reads these features, or the chosen one reads no arrays.
    """
    first = next(iter(shapes))
    own = "a torch module of your own reads arrays: --model path/to/net.py:build"
    drop = f"--drop={shlex.quote(first)} leaves the column out"
    if request.model is not None:
        training = find_spec(request.model).training
        if isinstance(training, FeatureTraining) and training.network is not None:
            return request.model, None
        raise InputError(
            f"--model: {request.model} reads columns, and column {first!r} is an array",
            f"--model {PICTURE_NETWORK} reads pictures; {own}",
            f"{drop}; a model of columns reads pixels only as a column each, such as lists of one "
            "length in Parquet",
        )
    pictures = {name: shapes[name] for name in shapes if features[name] == "image"}
    if not pictures:
        raise InputError(
            f"no built-in model reads tensors without a picture: column {first!r}", own, drop
        )
    for name, (channels, *sides) in pictures.items():
        if not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in sides):
            size = " x ".join(map(str, reversed(sides)))
            raise InputError(
                f"the pictures of column {name!r} have {size} pixels, and the built-in network is "
                f"for {_LEAST_SIDE} to {_MOST_SIDE}",
                f"--kind={shlex.quote(f'{name}=image:{channels}x32x32')} resizes files of pictures",
                f"--model {PICTURE_NETWORK} takes it all the same; {own}",
            )
    return PICTURE_NETWORK, None
