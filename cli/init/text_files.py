"""What `unlearn init` writes for a language model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.cli.init.files import POSTHOC, SISA, as_yaml, copied_to, template

if TYPE_CHECKING:
    from unlearn.stages.config.text import AdapterOptions

#: Where a base stands that `init` itself makes.
BASE_PATH = "models/base"


@dataclass(frozen=True)
class TextChoices:
    """What a user may ask for; None to have it chosen.

    `features` is the role of each column. `rate`, `unlearn_*`, `generic`, `gate` and `device`
    are not asked for, but examples have their own.
    """

    id: str
    subject: str | None
    features: dict[str, str]
    base: str
    files: dict[str, str]
    revision: str | None = None
    template: str = SISA
    model: str = "lora"
    shards: int = 1
    slices: int = 1
    holdout: float = 0.2
    held_out: Path | None = None
    epochs: int = 5
    batch: int = 16
    rate: float | None = None
    rank: int = 16
    alpha: float = 32.0
    context: int = 512
    too_long: str = "refuse"
    precision: str = "float32"
    device: str = "auto"
    unlearn_rate: float | None = None
    unlearn_epochs: int = 10
    unlearn_batch: int = 32
    generic: str | None = None
    gate: float | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def held_out_path(self) -> str | None:
        """Where the file of held-out rows stands in the project, if there is one."""
        return None if self.held_out is None else copied_to("held_out", self.held_out)


#: Rates for models of a billion parameters and more: of an adapter, and of all weights.
_RATES = {"lora": 1e-4, "causal_lm": 2e-5}


def render_text_params(key_check: str, path: str, choices: TextChoices) -> bytes:
    """Return params.yaml of a language project.

    Parameters
    ----------
    key_check
        Tells the project key.
    path
        The dataset's, in the project.
    choices
        Everything else.
    """
    from unlearn.stages.config.params import ALGORITHM, shard_names

    is_posthoc = choices.template == POSTHOC
    values: dict[str, Any] = {
        "path": path,
        "id": choices.id,
        "subject": choices.subject,
        "shards": shard_names(choices.shards),
        "slices": choices.slices,
        "holdout": choices.holdout,
        "model": choices.model,
        "base": choices.base,
        "revision": choices.revision,
        "context": choices.context,
        "too_long": choices.too_long,
        "precision": choices.precision,
        "epochs": choices.epochs,
        "batch": choices.batch,
        "rate": choices.rate or _RATES[choices.model],
        "device": choices.device,
        "rule": "mean_log_probability",
        # Whatever was tuned, an adapter is what unlearns.
        "unlearn_rate": choices.unlearn_rate or _RATES["lora"],
        "unlearn_epochs": choices.unlearn_epochs,
        "unlearn_batch": choices.unlearn_batch,
        "generic": choices.generic,
        "gate": choices.gate,
        "unlearn_adapter": _adapter(choices).model_dump(mode="json"),
    }
    held_out = ""
    if is_posthoc:
        held_out = (
            "  # A file of rows that no model was trained on; null holds out a share of the "
            f"dataset.\n  held_out: {as_yaml(choices.held_out_path)}\n"
        )
    text = template(f"{choices.template}/language.yaml").decode()
    return text.format(
        algorithm=ALGORITHM,
        key_check=key_check,
        held_out_lines=held_out,
        features=_lines(choices.features, 4),
        files=_lines(choices.files, 6),
        adapter=_adapter_lines(choices),
        methods=_methods(),
        settings=_settings(choices.settings),
        **{name: as_yaml(value) for name, value in values.items()},
    ).encode()


def _lines(values: dict[str, str], indent: int) -> str:
    return "\n".join(f"{' ' * indent}{as_yaml(k)}: {as_yaml(v)}" for k, v in values.items())


def _adapter(choices: TextChoices) -> "AdapterOptions":
    from unlearn.stages.config.text import AdapterOptions

    return AdapterOptions(rank=choices.rank, alpha=choices.alpha)


def _adapter_lines(choices: TextChoices) -> str:
    if choices.model != "lora":
        return ""
    adapter = _adapter(choices).model_dump(mode="json")
    said = "    # all-linear, or names of linear layers: q_proj, layers.3.mlp.up_proj\n"
    lines = [f"    {name}: {as_yaml(value)}\n" for name, value in adapter.items()]
    lines.insert(2, said)
    return "".join([*lines, "    dropout: 0.0\n"])


def _methods() -> str:
    from unlearn.stages.config.text import LANGUAGE_METHODS

    return "\n".join(f"    - {name}" for name in LANGUAGE_METHODS)


def _settings(own: dict[str, dict[str, Any]]) -> str:
    """Return the settings of each method as lines, the example's own over the defaults."""
    from unlearn.stages.config.text import LANGUAGE_METHODS, LanguageMethodSettings

    defaults = LanguageMethodSettings().model_dump(mode="json")
    found = {name: defaults[name] | own.get(name, {}) for name in LANGUAGE_METHODS}
    return "\n".join(f"    {name}: {as_yaml(values)}" for name, values in found.items() if values)
