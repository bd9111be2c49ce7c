"""Models of pictures and other arrays in a new project."""

import shlex
from collections.abc import Mapping

from unlearn.cli.init.request import InitRequest
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
    sides = shapes[first][1:]
    if features[first] != "image" or len(features) > 1:
        others = f" beside {len(features) - 1:,} other features" * (len(features) > 1)
        what = "a picture" if features[first] == "image" else "a tensor"
        raise InputError(
            f"no built-in model reads {what}{others}: column {first!r}",
            own,
            f"--model {PICTURE_NETWORK} reads one picture and nothing else: --drop leaves out "
            "other columns",
        )
    if not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in sides):
        size = " x ".join(map(str, reversed(sides)))
        raise InputError(
            f"the pictures of column {first!r} have {size} pixels, and the built-in network is for "
            f"{_LEAST_SIDE} to {_MOST_SIDE}",
            f"--kind={shlex.quote(f'{first}=image:{shapes[first][0]}x32x32')} resizes files of "
            "pictures",
            f"--model {PICTURE_NETWORK} takes it all the same; {own}",
        )
    return PICTURE_NETWORK, None
