"""Settings of language models: what they are tuned from, and how."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator
from unlearn.stages.config.section import Section, inside_the_project

#: What a column of text is, where rows are text for a language model. Loss is on `completion` or
#: `body` alone, or on the assistant's turns of `messages`, a chat. `input` goes behind `prompt`,
#: and the chat template writes the definitions of functions in `tools`.
#: Nothing is trained on `paraphrase`, `perturbed` and `topic`, which say how well a model knows an
#: answer in other words, or a wrong one, and what a row is publicly about.
TextRole = Literal[
    "prompt",
    "completion",
    "body",
    "paraphrase",
    "perturbed",
    "topic",
    "messages",
    "input",
    "tools",
]

#: Columns beside chats on which a model is trained elsewhere, and which are not read: definitions
#: of functions, in OpenAI's format and older ones; a system message, in ShareGPT's; and what TRL
#: passes to a template.
BESIDE_CHATS = ("tools", "functions", "system", "chat_template_kwargs")

#: Takes every linear layer but the output head.
ALL_LINEAR = "all-linear"

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_roles(features: dict[str, str]) -> None:
    """Raise a ValueError if columns of text do not make up rows that can be trained on."""
    roles = list(features.values())
    for role in sorted(set(get_args(TextRole)) - {"perturbed"}):
        if roles.count(role) > 1:
            raise ValueError(f"features: two columns are the {role}")
    if "messages" in roles:
        if others := set(roles) - {"messages", "topic", "tools"}:
            raise ValueError(f"features: rows are chats, and these have no {min(others)}")
    elif "tools" in roles:
        raise ValueError("features: tools are for chats, and no column has messages")
    elif "body" in roles:
        if {"prompt", "completion", "paraphrase", "perturbed", "input"} & set(roles):
            raise ValueError("features: rows are either a body or a prompt with its completion")
    elif not {"prompt", "completion"} <= set(roles):
        raise ValueError("features: text takes messages, a prompt and a completion, or a body")


class AdapterOptions(Section):
    """A low-rank adapter (Hu et al., "LoRA", ICLR 2022, section 4).

    `targets` names the linear layers that get one: whole names, or their last parts from a dot on,
    so that `layers.3.mlp.up_proj` is not in layer 30.
    """

    rank: int = Field(default=16, ge=1)
    """The rank of the adapter."""
    alpha: Annotated[float, Field(gt=0, strict=False)] = 32.0
    """The scale of the adapter; its update is multiplied by alpha / rank."""
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """The linear layers that get an adapter."""

    @field_validator("targets", mode="before")
    @classmethod
    def _all_or_by_name(cls, value: object) -> object:
        # Said here: of a choice between two types pydantic would speak of the first alone.
        named = isinstance(value, list) and value and all(isinstance(name, str) for name in value)
        if value != ALL_LINEAR and not named:
            raise ValueError(f"must be {ALL_LINEAR} or a list of layers' names")
        return value


class LanguageOptions(Section):
    """What a causal language model is tuned from, and how its rows become tokens.

    Parameters
    ----------
    base
        A folder with a Hugging Face checkpoint, relative to the project, or a hub name.
    revision
        The commit of a hub name.
    files
        SHA-256 of every file that the base is loaded from: another base is another model.
    context
        Tokens that a sequence may have. A longer body is cut into several.
    too_long
        What happens to a prompt and completion that are longer: refused, or truncated and counted.
    separator
        Between prompt and completion, where the tokenizer has no chat template.
    chat
        Whether a chat template is used where the tokenizer has one.
    precision
        Of weights and activations.
    accumulate
        Into how many parts a batch is split, to need less memory.
    clip
        The largest norm of a gradient.
    checkpointing
        Whether activations are computed twice, to need less memory.
    turns
        Which turns of the assistant the loss counts, where rows are chats; all by default.
    packing
        Whether sequences have more than one row: never.
    """

    base: str
    revision: str | None = None
    files: dict[str, str] = Field(min_length=1)
    context: int = Field(default=512, ge=2)
    too_long: Literal["refuse", "truncate"] = "refuse"
    separator: str = "\n"
    chat: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    accumulate: int = Field(default=1, ge=1)
    clip: Annotated[float, Field(gt=0, strict=False)] = 1.0
    checkpointing: bool = False
    turns: Literal["all", "last"] | None = None
    packing: bool = False

    @field_validator("packing")
    @classmethod
    def _one_row_a_sequence(cls, value: bool) -> bool:
        if value:
            raise ValueError(
                "must be false: rows of several people would be in one sequence, and what a model "
                "learns from one of them would depend on the others"
            )
        return value

    @field_validator("base")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip() or ".." in PurePosixPath(value).parts:
            raise ValueError("must be a folder inside the project, an absolute one or a hub name")
        return value

    @field_validator("files")
    @classmethod
    def _safe_files(cls, value: dict[str, str]) -> dict[str, str]:
        for name, digest in value.items():
            if "/" in name or _SHA256.fullmatch(digest) is None:
                raise ValueError(f"{name!r} must be a file's name with its SHA-256 in hex")
        if not any(name.endswith(".safetensors") for name in value):
            raise ValueError("no .safetensors file among them: other weights are never loaded")
        return value


class LoraOptions(LanguageOptions, AdapterOptions):
    """An adapter on the frozen base.

    With `layers_by_slice`, each slice trains the adapter on a group of layers of its own, from the
    last layers to the first (Chowdhury et al., "Towards Scalable Exact Machine Unlearning Using
    Parameter-Efficient Fine-Tuning", ICLR 2025). Slices can then be switched off, which
    `sharding.switched_off` says.
    """

    dropout: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0
    """The share of inputs of the adapter that are left out at random."""
    layers_by_slice: bool = False
    """Whether each slice trains layers of its own, which can be switched off."""


class CausalOptions(LanguageOptions):
    """All weights of the base are tuned."""


Rate = Annotated[float, Field(gt=0, strict=False)]
Share = Annotated[float, Field(ge=0, le=1, strict=False)]


class NpoSettings(Section):
    """Zhang et al., "Negative Preference Optimization", COLM 2024, section 3.

    `alpha` weighs forgetting against retaining: alpha * forget + (1 - alpha) * retain.
    """

    beta: Rate = 0.1
    """The inverse temperature of the loss."""
    alpha: Share = 0.25
    """The weight of forgetting against retaining."""


class SimNpoSettings(Section):
    """Fan et al., "Simplicity Prevails: Rethinking Negative Preference Optimization", 2024."""

    beta: Rate = 3.5
    """The inverse temperature of the loss."""
    delta: Annotated[float, Field(ge=0, strict=False)] = 1.0
    """The margin of the loss."""
    alpha: Share = 0.11
    """The weight of forgetting against retaining."""


class GradientDifferenceSettings(Section):
    """Liu et al., "Continual Learning and Private Unlearning", CoLLAs 2022: -CE on what goes."""

    alpha: Share = 0.5
    """The weight of forgetting against retaining."""


class AscentSettings(Section):
    """Jang et al., "Knowledge Unlearning", ACL 2023: no retain side, which ends in collapse."""


class IdkDpoSettings(Section):
    """Maini et al., "TOFU", COLM 2024, section 4: a refusal is preferred to the answer.

    The loss is that of Rafailov et al., "Direct Preference Optimization", NeurIPS 2023, equation 7.
    """

    beta: Rate = 0.1
    """The inverse temperature of the loss."""
    alpha: Share = 0.5
    """The weight of forgetting against retaining."""
    answers: list[str] = Field(
        default_factory=lambda: ["I don't know.", "I have no information on that."], min_length=1
    )
    """The refusals that are preferred to the answers."""


class RmuSettings(Section):
    """Li et al., "The WMDP Benchmark", ICML 2024, section 4: activations to a random direction."""

    depth: Share = 0.45
    """At which share of the layers activations are changed."""
    strength: Rate = 2.0
    """How far activations are moved."""
    alpha: Share = 0.5
    """The weight of forgetting against retaining."""


class TaskVectorSettings(Section):
    """Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023, section 3."""

    scale: Rate = 1.0
    """How much of the task vector is subtracted."""


class WgaSettings(Section):
    """Wang et al., "Rethinking LLM Unlearning Objectives", ICLR 2025: weighted gradient ascent."""

    beta: Annotated[float, Field(ge=0, strict=False)] = 1.0
    """The power of a token's probability that weighs its loss."""
    alpha: Share = 0.5
    """The weight of forgetting against retaining."""


class UndialSettings(Section):
    """Dong et al., "UNDIAL", NAACL 2025: self-distillation with adjusted logits.

    `beta` is by how much the logit of a token to forget is lowered.
    """

    beta: Rate = 10.0
    """By how much the logit of a token is lowered."""
    alpha: Share = 0.5
    """The weight of forgetting against retaining."""


class AltPoSettings(Section):
    """Mekala et al., "Alternate Preference Optimization", COLING 2025.

    `column` has an alternative answer to each row; if it is empty, the tuned model samples them,
    from its `top` most probable tokens at `temperature`, `samples` for each row.
    """

    beta: Rate = 0.1
    """The inverse temperature of the loss."""
    alpha: Share = 0.5
    """The weight of forgetting against retaining."""
    column: str = ""
    """A column with an alternative answer. Without it, answers are sampled."""
    samples: int = Field(default=8, ge=1)
    """How many answers are sampled for a row."""
    top: int = Field(default=10, ge=1)
    """From how many of the most probable tokens is sampled."""
    temperature: Rate = 2.0
    """The temperature of the sampling."""


class LanguageFinetuneSettings(Section):
    """Cross-entropy on the retain set alone."""


class LanguageRetrainSettings(Section):
    """Retraining has no settings but those of `train`."""


class LanguageSettings(Section):
    """How a tuned language model is unlearned: what all methods share.

    Parameters
    ----------
    adapter
        The new adapter on the frozen tuned model that is trained; null changes all weights.
    rate
        Of AdamW, constant; 2e-5 suits full weights of a billion or more, 1e-4 an adapter.
    epochs
        Over the forget set, at most; each meets as many retain rows, none of them twice before all
        were met.
    batch
        Sequences of each side a step.
    accumulate, clip
        As in `train.options`.
    gate
        The mean extraction strength on the forget set that the original must have, or no method
        runs: what was never memorised cannot be seen to go. Null measures whatever there is.
    generic
        A file of rows with the dataset's columns of text that are about nobody in it: whether a
        model still speaks. Null where there is none.
    perplexity_limit, repetition_limit
        Brakes of the guard: how many times the original's perplexity of the generic text may be
        reached, and the share of repeated 4-grams in generated text that is still speech.
    """

    adapter: AdapterOptions | None = Field(default_factory=AdapterOptions)
    rate: Rate = 1e-4
    epochs: int = Field(default=10, ge=1)
    batch: int = Field(default=32, ge=1)
    accumulate: int = Field(default=1, ge=1)
    clip: Rate = 1.0
    gate: Share | None = None
    generic: str | None = None
    perplexity_limit: Annotated[float, Field(gt=1, strict=False)] = 2.0
    repetition_limit: Share = 0.5

    @field_validator("generic")
    @classmethod
    def _inside_the_project(cls, value: str | None) -> str | None:
        return inside_the_project(value)


class LanguageMethodSettings(LanguageSettings):
    """What all methods for language models share, and each by its name, in the order of tables."""

    retrain: LanguageRetrainSettings = Field(default_factory=LanguageRetrainSettings)
    """Training from scratch on the retained rows."""
    npo: NpoSettings = Field(default_factory=NpoSettings)
    """Negative preference optimisation."""
    simnpo: SimNpoSettings = Field(default_factory=SimNpoSettings)
    """SimNPO, without a reference model."""
    gradient_difference: GradientDifferenceSettings = Field(
        default_factory=GradientDifferenceSettings
    )
    """Gradient difference."""
    gradient_ascent: AscentSettings = Field(default_factory=AscentSettings)
    """Gradient ascent alone."""
    idk_dpo: IdkDpoSettings = Field(default_factory=IdkDpoSettings)
    """Preferring a refusal to the answer."""
    rmu: RmuSettings = Field(default_factory=RmuSettings)
    """Moving activations in a random direction."""
    task_vector: TaskVectorSettings = Field(default_factory=TaskVectorSettings)
    """Subtracting a task vector."""
    finetune: LanguageFinetuneSettings = Field(default_factory=LanguageFinetuneSettings)
    """Training on the retained rows alone."""
    wga: WgaSettings = Field(default_factory=WgaSettings)
    """Weighted gradient ascent."""
    undial: UndialSettings = Field(default_factory=UndialSettings)
    """Self-distillation with adjusted logits."""
    alt_po: AltPoSettings = Field(default_factory=AltPoSettings)
    """Alternate preference optimisation."""
