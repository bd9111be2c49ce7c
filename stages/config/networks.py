"""Settings of `train` that only networks have: own torch modules, and `resnet`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from unlearn.stages.config.methods import own_code
from unlearn.stages.config.section import Section, inside_the_project

#: A share of the steps of a slice.
Share = Annotated[float, Field(ge=0, le=1, strict=False)]
Positive = Annotated[float, Field(gt=0, strict=False)]

#: Number formats of the operations that `precision` may lower.
Precision = Literal["float32", "bfloat16"]


def own_function(value: str | None) -> str | None:
    """Return `path.py:function`; for validators: anything else is a ValueError."""
    if value is not None:
        code = own_code(value)
        if code is None:
            raise ValueError("must be a file of the project and a function, such as my.py:loss")
        inside_the_project(code[0])
    return value


class ScheduleParams(Section):
    """How the learning rate changes over the steps of a slice.

    A schedule runs once in each slice, over the steps of that slice: a schedule over all slices
    would need to know how many rows later slices have.

    `cosine` falls to 0 (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts). `step`
    multiplies the rate by `factor` after every share `every` of the steps. `one_cycle` rises for
    the share `warm_up`, .3 by default, and falls to 0 by a cosine (Smith and Topin,
    "Super-Convergence", 2018). With `warm_up`, the others rise linearly over that share of the
    steps first.
    """

    name: Literal["cosine", "step", "one_cycle"]
    warm_up: Share = 0.0
    every: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.3
    factor: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.1


class AugmentParams(Section):
    """How pictures are changed at random in training, each row for itself.

    `crop` pads by that many pixels and cuts out the old size; `flip` mirrors left and right;
    `colour` changes brightness, contrast and saturation by up to that share; `cutout` makes a
    square of that many pixels grey. `own` names a function `augment(picture, random)`. `mixup`
    mixes the rows of a batch in pairs (Zhang et al., "mixup", ICLR 2018): the parameter of its Beta
    distribution.
    """

    crop: Annotated[int, Field(ge=0, le=64)] = 0
    flip: bool = False
    colour: Share = 0.0
    cutout: Annotated[int, Field(ge=0, le=512)] = 0
    mixup: Annotated[float, Field(ge=0, strict=False)] = 0.0
    own: str | None = None

    @field_validator("own")
    @classmethod
    def _is_a_function(cls, value: str | None) -> str | None:
        return own_function(value)

    @property
    def changes_rows(self) -> bool:
        """Whether rows are changed, each for itself; mixup works on batches."""
        return bool(self.crop or self.flip or self.colour or self.cutout or self.own)


class PixelParams(Section):
    """What pixels are shifted and divided by, for each channel or for all alike.

    A network reads (pixel / 255 - mean) / std. The numbers are pinned: means of the rows would be
    learned from them.
    """

    mean: Annotated[list[Annotated[float, Field(strict=False)]], Field(min_length=1)] = Field(
        default_factory=lambda: [0.5]
    )
    std: Annotated[list[Positive], Field(min_length=1)] = Field(default_factory=lambda: [0.5])


class FreezeParams(Section):
    """Weights from elsewhere that training does not change: a backbone.

    `weights` is a safetensors file of the project and `sha256` its pinned digest. Its tensors are
    parameters of the network by their names, behind `prefix`.
    """

    weights: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    prefix: str = ""

    @field_validator("weights")
    @classmethod
    def _inside_the_project(cls, value: str) -> str:
        inside_the_project(value)
        return value


#: Pictures with a longer side are halved by the first convolution of `resnet`.
RESNET_FULL_SIDE = 32


class ResnetOptions(Section):
    """Size of the built-in residual network, `resnet`.

    Channels are `width`, twice and four times as many in its three stages, of `blocks` residual
    blocks each. `norm` is what normalises them: `group` by each row alone, `batch` over the rows of
    a batch.
    """

    width: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = 16
    blocks: Annotated[int, Field(ge=1, le=18)] = 1
    norm: Literal["group", "batch"] = "group"
    dropout: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0


class NetworkParams(Section):
    """The settings of training that only networks have. A model records those that are set."""

    schedule: ScheduleParams | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0
    class_weight: Literal["balanced"] | dict[str, Positive] | None = None
    clip: Positive | None = None
    precision: Precision = "float32"
    channels_last: bool = False
    average: Share = 0.0
    augment: AugmentParams | None = None
    pixels: PixelParams | None = None
    freeze: FreezeParams | None = None
    loss: str | None = None
    loop: str | None = None

    @field_validator("loss", "loop")
    @classmethod
    def _is_a_function(cls, value: str | None) -> str | None:
        return own_function(value)

    @model_validator(mode="after")
    def _one_loss(self) -> "NetworkParams":
        if self.loss is not None and (self.label_smoothing or self.class_weight):
            raise ValueError("loss: label_smoothing and class_weight are for the built-in loss")
        return self

    @property
    def network_settings(self) -> list[str]:
        """Names of the settings that are not as they are by default."""
        fields = NetworkParams.model_fields
        return [
            name
            for name in fields
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        ]

    @property
    def own_functions(self) -> list[str]:
        """The functions of one's own that training calls, as `path.py:function`."""
        augment = None if self.augment is None else self.augment.own
        return [value for value in (self.loss, self.loop, augment) if value is not None]
