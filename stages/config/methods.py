"""The `unlearn` section: post-hoc methods, and each default with its source.

Epochs are upper bounds: no update method takes more than a fifth of the epochs that training took,
since a method that costs as much as retraining has no benefit.
"""

import difflib
import re
from functools import cache
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    create_model,
    model_validator,
)
from unlearn.stages.config.retain_methods import (
    L1SparseSettings,
    MsgSettings,
    ShrinkPerturbSettings,
)
from unlearn.stages.config.section import Modality, Section, Task
from unlearn.stages.config.text import LanguageMethodSettings, LanguageSettings

AnySection = TypeVar("AnySection", bound=BaseModel)

#: The stage that trains a fresh model on the retained rows for few epochs, and its name in tables.
YOUNG = "young"

#: What says that the forget rows are forgotten: see `GuardParams`.
Target = Literal["young", "class"]

Rate = Annotated[float, Field(gt=0, strict=False)]
Share = Annotated[float, Field(ge=0, le=1, strict=False)]
NotNegative = Annotated[float, Field(ge=0, strict=False)]
Momentum = Annotated[float, Field(ge=0, lt=1, strict=False)]
Epochs = Annotated[int, Field(ge=1)]


class RetrainSettings(Section):
    """Retraining has no settings other than those of `train`."""


class GradientAscentSettings(Section):
    """Ascent on the forget rows, then repair on the retain rows.

    Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020, section 6 (negative
    gradient); the rate is ours, small enough that the guard sees the target coming.
    """

    rate: Rate = 1e-3
    """The learning rate of the ascent."""
    epochs: Epochs = 10
    """The most epochs of ascent."""
    repair_rate: Rate = 1e-3
    """The learning rate of the repair."""
    repair_epochs: int = Field(default=1, ge=0)
    """The epochs of the repair."""


class FinetuneSettings(Section):
    """Training on the retain rows alone.

    Warnecke et al. 2021 and Golatkar et al. 2020 call it the simplest baseline; rate, momentum,
    decay and schedule as in Jia et al., "Model Sparsity Can Simplify Machine Unlearning",
    NeurIPS 2023, appendix. They are those of SGD: with `optimizer: training` the settings of
    `train.optimizer` are read instead, its rate times `rate_factor`. Projects from before that
    setting train with SGD.
    """

    later: ClassVar[frozenset[str]] = frozenset({"optimizer", "rate_factor"})

    optimizer: Literal["sgd", "training"] = "sgd"
    """SGD with the settings here, or the optimizer of `train`."""
    rate: Rate = 0.1
    """The learning rate."""
    momentum: Momentum = 0.9
    """The momentum of SGD."""
    weight_decay: NotNegative = 5e-4
    """The weight decay."""
    rate_factor: Rate = 8.0
    """With `optimizer: training`, what its rate is multiplied by."""
    epochs: Epochs = 5
    """The most epochs that it may take."""


class NegativeGradientPlusSettings(Section):
    """Descent on the retain rows and ascent on the forget rows in one loss.

    Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023, section 4.
    """

    alpha: Share = 0.95
    """The weight of the retained rows in the loss; the forgotten rows have the rest."""
    rate: Rate = 0.01
    """The learning rate."""
    momentum: Momentum = 0.9
    """The momentum of SGD."""
    weight_decay: NotNegative = 5e-4
    """The weight decay."""
    epochs: Epochs = 10
    """The most epochs that it may take."""


class InfluenceSettings(Section):
    """One Newton step on the retain rows (Koh and Liang, ICML 2017; Guo et al., ICML 2020).

    `damping` is added to the mean Hessian of networks, which are not convex; linear models have
    their Hessian solved exactly, undamped, up to `exact_parameters` parameters.
    """

    damping: NotNegative = 0.01
    """What is added to the Hessian of networks."""
    iterations: int = Field(default=100, ge=1)
    """The most iterations of the solver."""
    tolerance: Rate = 1e-6
    """The relative error at which the solver stops."""
    exact_parameters: int = Field(default=2000, ge=0)
    """Up to how many parameters a linear model's Hessian is solved exactly."""


class CertificateSettings(Section):
    """Settings of a method that gives a certificate: epsilon and delta.

    They bound how well a model can be distinguished from one trained without the rows.
    """

    epsilon: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """Epsilon of the certificate: less is harder to distinguish."""
    delta: Annotated[float, Field(gt=0, lt=1, strict=False)] = 1e-4
    """Delta of the certificate."""


class CertifiedRemovalSettings(CertificateSettings):
    """Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020, section 3.

    The noise that the certificate needs is `sigma` of `train.options`. Theorem 3 rests on the
    Gaussian mechanism's analysis (Dwork and Roth, "The Algorithmic Foundations of Differential
    Privacy", 2014, theorem A.1), which holds up to an epsilon of 1.
    """

    only_classes: ClassVar[str | None] = "its certificate is for a logistic regression"

    epsilon: Annotated[float, Field(gt=0, le=1, strict=False)] = 1.0
    """Epsilon of the certificate: less is harder to distinguish."""


class ScrubSettings(Section):
    """Kurmanji et al., NeurIPS 2023, section 3: alternate max and min steps.

    The numbers, and SGD with its momentum and decay, are those of the authors' code. `decay`
    multiplies the rate after the epochs 5, 8 and 9, theirs is .1; projects from before that setting
    have a constant rate.
    """

    later: ClassVar[frozenset[str]] = frozenset({"decay"})

    temperature: Rate = 4.0
    """The temperature of the distillation."""
    alpha: NotNegative = 0.001
    """The weight of the distillation on retained rows."""
    gamma: NotNegative = 0.99
    """The weight of the loss on retained rows."""
    rate: Rate = 5e-4
    """The learning rate."""
    decay: Annotated[float, Field(gt=0, le=1, strict=False)] = 1.0
    """What the rate is multiplied by after the epochs 5, 8 and 9."""
    momentum: Momentum = 0.9
    """The momentum of SGD."""
    weight_decay: NotNegative = 5e-4
    """The weight decay."""
    forget_epochs: Epochs = 3
    """In how many epochs there are steps on the forgotten rows."""
    epochs: Epochs = 10
    """The most epochs that it may take."""


class SsdSettings(Section):
    """Foster, Schoepf and Brintrup, "Fast Machine Unlearning without Retraining", AAAI 2024."""

    selection: Rate = 10.0
    """How many times more important a weight is for the forgotten rows to be dampened."""
    dampening: Rate = 1.0
    """How strongly such weights are dampened."""


class SalunSettings(Section):
    """Fan et al., "SalUn", ICLR 2024, section 4: the salient half of the weights."""

    only_classes: ClassVar[str | None] = (
        "it trains the forgotten rows on wrong classes, and a number has none"
    )

    share: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.5
    """The share of the weights that are changed."""
    rate: Rate = 0.013
    """The learning rate."""
    momentum: Momentum = 0.9
    """The momentum of SGD."""
    weight_decay: NotNegative = 5e-4
    """The weight decay."""
    epochs: Epochs = 10
    """The most epochs that it may take."""


class BadTeacherSettings(Section):
    """Chundawat et al., "Can Bad Teaching Induce Forgetting?", AAAI 2023, section 4."""

    only_classes: ClassVar[str | None] = (
        "it teaches the class probabilities of a network that knows nothing, and a number has none"
    )

    temperature: Rate = 1.0
    """The temperature of the distillation."""
    retain_share: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.3
    """The share of the retained rows that are used."""
    rate: Rate = 1e-4
    """The learning rate."""
    epochs: Epochs = 1
    """The most epochs that it may take."""


class MethodSettings(Section):
    """The settings of all built-in methods for tables, by name, in the order of tables."""

    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    """Training from scratch on the retained rows."""
    gradient_ascent: GradientAscentSettings = Field(default_factory=GradientAscentSettings)
    """Gradient ascent, then repair."""
    finetune: FinetuneSettings = Field(default_factory=FinetuneSettings)
    """Training on the retained rows alone."""
    negative_gradient_plus: NegativeGradientPlusSettings = Field(
        default_factory=NegativeGradientPlusSettings
    )
    """NegGrad+."""
    influence: InfluenceSettings = Field(default_factory=InfluenceSettings)
    """One Newton step."""
    certified_removal: CertifiedRemovalSettings = Field(default_factory=CertifiedRemovalSettings)
    """Certified removal from a logistic regression."""
    scrub: ScrubSettings = Field(default_factory=ScrubSettings)
    """SCRUB."""
    ssd: SsdSettings = Field(default_factory=SsdSettings)
    """Selective synaptic dampening."""
    salun: SalunSettings = Field(default_factory=SalunSettings)
    """SalUn."""
    bad_teacher: BadTeacherSettings = Field(default_factory=BadTeacherSettings)
    """Bad teaching."""
    shrink_perturb: ShrinkPerturbSettings = Field(default_factory=ShrinkPerturbSettings)
    """Shrink and perturb."""
    msg: MsgSettings = Field(default_factory=MsgSettings)
    """Masked small gradients."""
    l1_sparse: L1SparseSettings = Field(default_factory=L1SparseSettings)
    """Fine-tuning with an L1 penalty."""


#: The settings of all built-in methods of either modality.
_BUILT_IN: dict[Modality, type[MethodSettings | LanguageMethodSettings]] = {
    "tabular": MethodSettings,
    "text": LanguageMethodSettings,
}

#: Built-in methods, in the order of tables.
METHODS: dict[Modality, tuple[str, ...]] = {
    "tabular": tuple(MethodSettings.model_fields),
    "text": tuple(
        name
        for name in LanguageMethodSettings.model_fields
        if name not in LanguageSettings.model_fields
    ),
}

#: Settings of methods that are registered in addition to the built-in ones.
_REGISTERED: dict[Modality, dict[str, type[Section]]] = {"tabular": {}, "text": {}}


def add_method(name: str, modality: Modality, settings: type[Section]) -> None:
    """Let params.yaml name a method and hold its settings.

    Parameters
    ----------
    name, modality, settings
        The method's name, what it changes, and the section that holds its settings. All settings
        have defaults.

    Raises
    ------
    ValueError
        If the name is that of other settings already.
    """
    known = _REGISTERED[modality].get(name) or _BUILT_IN[modality].model_fields.get(name)
    if known is None:
        _REGISTERED[modality][name] = settings
        _settings_model.cache_clear()
    elif name not in method_names(modality) or settings_type(name, modality) is not settings:
        raise ValueError(f"unlearn: {name!r} is the name of other settings already")


def method_names(modality: Modality) -> tuple[str, ...]:
    """Names of all methods of a modality, the built-in ones first."""
    return (*METHODS[modality], *_REGISTERED[modality])


def settings_type(name: str, modality: Modality) -> type[Section]:
    """Return the section that holds a method's settings."""
    found = _REGISTERED[modality].get(name) or _BUILT_IN[modality].model_fields[name].annotation
    if not (isinstance(found, type) and issubclass(found, Section)):
        raise TypeError(f"{name!r} has no section")
    return found


def methods_of(task: Task) -> tuple[str, ...]:
    """Return the built-in methods for tables that apply to a task, in the order of tables."""
    names = METHODS["tabular"]
    if task == "classification":
        return names
    return tuple(name for name in names if settings_type(name, "tabular").only_classes is None)


def gives_certificate(name: str, modality: Modality) -> bool:
    """Return whether a method may call its result `certified`; a user's method may not."""
    return name in method_names(modality) and issubclass(
        settings_type(name, modality), CertificateSettings
    )


def with_registered(section: type[AnySection]) -> type[AnySection]:
    """Return a section with a field for each registered method, where it holds methods' settings.

    Parameters
    ----------
    section
        Any section of params.yaml; others than `unlearn.settings` and `unlearn.language` are
        returned as they are.
    """
    for modality, built_in in _BUILT_IN.items():
        if section is built_in:
            return _settings_model(modality)  # type: ignore[return-value]  # a subclass of it
    return section


@cache
def _settings_model(modality: Modality) -> type[Section]:
    added: dict[str, Any] = {
        name: (settings, Field(default_factory=settings))
        for name, settings in _REGISTERED[modality].items()
    }
    built_in = _BUILT_IN[modality]
    return create_model(built_in.__name__, __base__=built_in, **added) if added else built_in


def _read_settings(section: type[Section]) -> BeforeValidator:
    """Return a validator that knows the methods which are registered when it runs."""

    def read(value: Any) -> Any:
        if value is None or isinstance(value, section):
            return value
        return with_registered(section).model_validate(value)

    return BeforeValidator(read)


def _default_settings() -> MethodSettings:
    return with_registered(MethodSettings)()


class GuardParams(Section):
    """When an iterative method has to stop.

    `budget` is how much accuracy on retained rows a method may cost - of a language model, which
    share of its probability of retained answers - and `gradient_limit` the norm at which a gradient
    counts as exploding. If it is not `active`, a method runs without limits.

    `target` says which loss of the forget rows counts as forgotten: `young`, that of the model of
    the stage `young` on them, or `class`, that of the original on unseen rows of their classes. By
    default it is `young` where the project has that stage.
    """

    active: bool = True
    """Whether the guard stops methods at all."""
    budget: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.02
    """How much accuracy on retained rows a method may cost."""
    gradient_limit: Annotated[float, Field(gt=0, strict=False)] = 1000.0
    """The norm at which a gradient counts as exploding."""
    target: Target | None = None
    """Which loss of the forgotten rows counts as forgotten."""


class UnlearnParams(Section):
    """Post-hoc methods, for a model that was trained without shards.

    `original` says whether the `train` stage makes the model or it was imported. Each of `methods`
    is applied to it; `deploy` names the one that becomes the final model. `young` says whether the
    pipeline has the stage of that name, whose model is compared with theirs. A user's method is
    `path/to/file.py:function`, with settings under `own` by that name. Language models have their
    settings under `language`, all others under `settings`.
    """

    original: Literal["trained", "imported"] = "trained"
    """Whether the pipeline trains the original model, or it was imported."""
    young: bool = False
    """Whether the pipeline has the stage `young`, a fresh model of few epochs."""
    methods: list[str] = Field(min_length=1)
    """The methods to run, each by its name or `path/to/file.py:function`."""
    deploy: str
    """The method whose model becomes the final model."""
    guard: GuardParams = Field(default_factory=GuardParams)
    """When an iterative method has to stop."""
    settings: Annotated[SerializeAsAny[MethodSettings], _read_settings(MethodSettings)] = Field(
        default_factory=_default_settings
    )
    """The settings of methods for tables and pictures."""
    language: Annotated[
        SerializeAsAny[LanguageMethodSettings] | None, _read_settings(LanguageMethodSettings)
    ] = None
    """The settings of methods for language models."""
    own: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The settings of your own methods, by name."""

    @model_validator(mode="after")
    def _known_methods(self) -> "UnlearnParams":
        known = [*method_names("tabular"), *method_names("text")]
        if YOUNG in self.methods:
            raise ValueError("methods: young is a stage of its own; `young: true` is its setting")
        for name in self.methods:
            if name not in known and own_code(name) is None:
                near = difflib.get_close_matches(name, known, n=1)
                hint = ", ".join(method_names("tabular"))
                meant = f"; did you mean {near[0]}?" if near else f": {hint}"
                raise ValueError(
                    f"methods: {name!r} is neither path/to/file.py:function nor a method{meant}"
                )
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("methods: the same method stands twice")
        if self.deploy == YOUNG and not self.young:
            raise ValueError("deploy: young needs `young: true`")
        if self.deploy not in self.compared:
            raise ValueError(f"deploy: {self.deploy!r} is not among unlearn.methods")
        if self.guard.target == YOUNG and not self.young:
            raise ValueError("guard.target: young needs `young: true`")
        if others := sorted(set(self.own) - set(self.methods)):
            raise ValueError(f"own: {others[0]!r} is not among unlearn.methods")
        return self

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of all models that are compared: `young`, if there is one, and the methods."""
        return (*((YOUNG,) if self.young else ()), *self.methods)

    @property
    def target(self) -> Target:
        """Which loss of the forget rows counts as forgotten."""
        return self.guard.target or ("young" if self.young else "class")

    @property
    def for_language(self) -> LanguageMethodSettings:
        """Settings of the methods for language models, by default where none are given."""
        return self.language or with_registered(LanguageMethodSettings)()

    @property
    def code_paths(self) -> list[str]:
        """Files of users' methods, relative to the project, each once."""
        return sorted({code[0] for name in self.methods if (code := own_code(name))})


def own_code(method: str) -> tuple[str, str] | None:
    """Return file and function of a user's method; None for other names.

    >>> own_code("methods/noise.py:add_noise")
    ('methods/noise.py', 'add_noise')
    >>> own_code("finetune") is None
    True
    """
    match = re.fullmatch(r"([^:]+\.py):([A-Za-z_]\w*)", method)
    if match is None:
        return None
    path = PurePosixPath(match[1])
    return None if path.is_absolute() or ".." in path.parts else (match[1], match[2])
