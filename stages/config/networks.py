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
    """How the learning rate changes over the steps of a slice."""
    warm_up: Share = 0.0
    """The share of the steps over which the rate rises first."""
    every: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.3
    """Of `step`: after which share of the steps the rate falls."""
    factor: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.1
    """Of `step`: what the rate is multiplied by."""


class AugmentParams(Section):
    """How pictures are changed at random in training, each row for itself.

    `crop` pads by that many pixels and cuts out the old size; `flip` mirrors left and right;
    `colour` changes brightness, contrast and saturation by up to that share; `cutout` makes a
    square of that many pixels grey. `own` names a function `augment(picture, random)`. `mixup`
    mixes the rows of a batch in pairs (Zhang et al., "mixup", ICLR 2018): the parameter of its Beta
    distribution.
    """

    crop: Annotated[int, Field(ge=0, le=64)] = 0
    """By how many pixels a picture is padded before its old size is cut out."""
    flip: bool = False
    """Whether pictures are mirrored left and right at random."""
    colour: Share = 0.0
    """By which share brightness, contrast and saturation change at most."""
    cutout: Annotated[int, Field(ge=0, le=512)] = 0
    """The side of a square that is made grey, in pixels."""
    mixup: Annotated[float, Field(ge=0, strict=False)] = 0.0
    """The parameter of mixup's Beta distribution; 0 mixes nothing."""
    own: str | None = None
    """A function of your own, `path/to/file.py:function`."""

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
    """What pixels are shifted by, for each channel or for all."""
    std: Annotated[list[Positive], Field(min_length=1)] = Field(default_factory=lambda: [0.5])
    """What pixels are divided by, for each channel or for all."""


class FreezeParams(Section):
    """Weights from elsewhere that training does not change: a backbone.

    `weights` is a safetensors file of the project and `sha256` its pinned digest. Its tensors are
    parameters of the network by their names, behind `prefix`.
    """

    weights: str
    """The safetensors file of the backbone."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The digest of that file."""
    prefix: str = ""
    """What stands before the names of its tensors in the network."""

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
    """The channels of the first of three stages."""
    blocks: Annotated[int, Field(ge=1, le=18)] = 1
    """The number of residual blocks of each stage."""
    norm: Literal["group", "batch"] = "group"
    """Whether channels are normalised by each row alone, or over a batch."""
    dropout: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0
    """The share of units that are left out at random before the output."""


class NetworkParams(Section):
    """The settings of training that only networks have. A model records those that are set."""

    schedule: ScheduleParams | None = None
    """How the learning rate changes. Without it, it is constant."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0
    """How much of a row's label goes to all classes alike."""
    class_weight: Literal["balanced"] | dict[str, Positive] | None = None
    """The weight of each class in the loss; `balanced` takes it from the rows of the slices."""
    clip: Positive | None = None
    """The largest norm of a gradient."""
    precision: Precision = "float32"
    """The number format of the operations that may be lowered."""
    channels_last: bool = False
    """Whether arrays lie in memory with channels last, which can be faster."""
    average: Share = 0.0
    """The share of the last steps whose weights are averaged."""
    augment: AugmentParams | None = None
    """How pictures are changed at random in training."""
    pixels: PixelParams | None = None
    """What pixels are shifted and divided by."""
    freeze: FreezeParams | None = None
    """Weights from elsewhere that training does not change."""
    loss: str | None = None
    """A loss of your own, `path/to/file.py:function`."""
    loop: str | None = None
    """A training loop of your own, `path/to/file.py:function`."""

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
