"""The files that `unlearn init` writes, as bytes."""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn.cli.init.scaffold import Plan

DIGITS_PATH = "data/digits.csv"

#: Folders of templates.
SISA, POSTHOC = "sisa", "posthoc"


#: Models that refuse scaling and imputing by what the rows say.
_LEARN_NOTHING = ("perturbed_logistic",)


@dataclass(frozen=True)
class Choices:
    """What a user may ask for, before the data was seen; None to have it chosen."""

    id: str
    target: str
    subject: str | None
    shards: int | None
    slices: int | None
    holdout: float
    model: str
    epochs: int | None
    template: str = SISA
    held_out: Path | None = None

    @property
    def held_out_path(self) -> str | None:
        """Where the file of held-out rows stands in the project, if there is one."""
        return None if self.held_out is None else copied_to("held_out", self.held_out)


def copied_to(name: str, source: Path) -> str:
    """Return where a file or folder of rows stands in the project, by its name there."""
    return f"data/{name}" if source.is_dir() else f"data/{name}{source.suffix.lower()}"


def digits_csv() -> bytes:
    """Return scikit-learn's digits as a CSV: id, 64 pixels from 0 to 16, and the digit."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    header = ["id", *(f"p{row}{column}" for row in range(8) for column in range(8)), "digit"]
    lines = [",".join(header)]
    for number, (pixels, digit) in enumerate(zip(digits.data, digits.target, strict=True)):
        values = ",".join(str(int(pixel)) for pixel in pixels)
        lines.append(f"{number:04d},{values},{digit}")
    return ("\n".join(lines) + "\n").encode()


def render_digits_params(key_check: str, template: str = SISA) -> bytes:
    """Return the params.yaml of the digits example."""
    from unlearn.cli.init.scaffold import Plan

    plan = Plan(shards=8, slices=3, epochs=60)
    if template == POSTHOC:
        plan = Plan(shards=1, slices=1, epochs=60)

    features = {f"p{row}{column}": "numeric" for row in range(8) for column in range(8)}
    return render_params(
        key_check,
        path=DIGITS_PATH,
        choices=Choices("id", "digit", None, None, None, 0.2, "mlp", None, template),
        plan=plan,
        features=features,
        classes=[str(digit) for digit in range(10)],
    )


def aggregation_rule(model: str) -> str:
    """Return the aggregation that a model's answers allow."""
    if not model.startswith("sklearn."):
        return "mean_probability"
    from unlearn.stages.config.train import TrainParams
    from unlearn.stages.estimators.sklearn_models import SklearnEstimator

    estimator = SklearnEstimator(TrainParams(model=model), classes=2, sliced=False)
    return "mean_probability" if estimator.has_probabilities else "majority_vote"


def render_params(
    key_check: str,
    *,
    path: str,
    choices: Choices,
    plan: "Plan",
    features: dict[str, Any],
    classes: list[str],
) -> bytes:
    """Return params.yaml.

    Parameters
    ----------
    key_check
        Tells the project key.
    path
        The dataset's, in the project.
    choices, plan
        What was asked for, and what was chosen.
    features, classes
        The schema to pin.
    """
    from unlearn.cli.init.scaffold import DEFAULT_BATCH
    from unlearn.stages.config.dataset import DEFAULT_MISSING
    from unlearn.stages.config.params import ALGORITHM, shard_names
    from unlearn.stages.config.train import PerturbedLogisticOptions

    options: dict[str, dict[str, Any]] = {
        "mlp": {"hidden": [64], "activation": "relu", "dropout": 0.0},
        "perturbed_logistic": PerturbedLogisticOptions().model_dump(mode="json"),
    }
    # A certificate is about features that nothing was learned for.
    scale, impute = ("none", "zero") if choices.model in _LEARN_NOTHING else ("standard", "median")
    listed = "\n".join(f"    {as_yaml(name)}: {kind}" for name, kind in features.items())
    values: dict[str, Any] = {
        "path": path,
        "held_out": choices.held_out_path,
        "id": choices.id,
        "subject": choices.subject,
        "target": choices.target,
        "missing": list(DEFAULT_MISSING),
        "classes": classes,
        "shards": shard_names(plan.shards),
        "slices": plan.slices,
        "holdout": choices.holdout,
        "model": choices.model,
        "options": options.get(choices.model, {}),
        "scale": scale,
        "impute": impute,
        "epochs": plan.epochs,
        "batch": DEFAULT_BATCH,
        "rule": aggregation_rule(choices.model),
    }
    text = template(f"{choices.template}/params.yaml").decode()
    text = text.format(
        algorithm=ALGORITHM,
        key_check=key_check,
        features=listed,
        **_methods(),
        **{name: as_yaml(value) for name, value in values.items()},
    )
    return text.encode()


def _methods() -> dict[str, str]:
    """Return the post-hoc methods as lines of a list, and their default settings as a block."""
    from unlearn.stages.config.methods import METHODS, MethodSettings

    settings = MethodSettings().model_dump(mode="json")
    return {
        "methods": "\n".join(f"    - {name}" for name in METHODS),
        "settings": "\n".join(
            f"    {name}: {as_yaml(values)}" for name, values in settings.items() if values
        ),
    }


def as_yaml(value: Any) -> str:
    """Return a value as YAML on one line that every YAML reader takes for the same.

    Readers of YAML 1.1 and 1.2 disagree on plain text such as 1e3, no or 0o7: text is quoted
    unless it is plainly a word.
    """
    import yaml

    if isinstance(value, list):
        return f"[{', '.join(as_yaml(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{as_yaml(k)}: {as_yaml(v)}' for k, v in value.items())}}}"
    style = '"' if isinstance(value, str) and not _is_plain(value) else None
    text = yaml.safe_dump(value, default_style=style, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _is_plain(text: str) -> bool:
    import yaml

    return bool(re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII)) and yaml.safe_load(text) == text


def parse(params_text: bytes) -> dict[str, Any]:
    """Return the settings in a params.yaml."""
    import yaml

    return dict(yaml.safe_load(params_text))


#: Behind what of each template the stage that trains, and the one that unlearns, name more files.
_TRAIN_DEPS = (
    "      - data/retain_set/${item.shard}.parquet\n",
    "      - data/shards/s000.parquet\n",
)
_UNLEARN_DEPS = "      - models/original\n      - data/retain_set\n"
_VERIFY_DEPS = "      - models/unlearned\n"


def pipeline(code: str | None, of: str = SISA, *, held_out: bool = False) -> bytes:
    """Return dvc.yaml, with the user's own module among the dependencies of what runs it."""
    text = template(f"{of}/dvc.yaml").decode()
    if held_out:
        text = _with_held_out(text)
    if code is not None:
        text = _with_dependency(text, code, *_TRAIN_DEPS, _UNLEARN_DEPS)
    return text.encode()


def text_pipeline(
    of: str = SISA, *, base: str | None, held_out: bool = False, generic: str | None = None
) -> bytes:
    """Return dvc.yaml of a project of text.

    Parameters
    ----------
    of
        The template.
    base
        The base where it is in the project: what DVC can watch. One elsewhere is watched by the
        digests of its files, when it is read.
    held_out
        Whether rows that no model is trained on stand in a file of their own.
    generic
        The file of text that is about nobody in the dataset, if there is one.
    """
    text = template(f"{of}/dvc.yaml").decode()
    text = text.replace("      - dataset.target\n", "").replace(
        "      - dataset.missing\n", "      - dataset.features\n"
    )
    text = text.replace("      - unlearn.settings\n", "      - unlearn.language\n")
    if held_out:
        text = _with_held_out(text)
    if base is not None:
        text = _with_dependency(text, base, *_TRAIN_DEPS, _UNLEARN_DEPS)
    if generic is not None:
        text = _with_dependency(text, generic, _UNLEARN_DEPS, _VERIFY_DEPS)
    return text.encode()


def _with_held_out(text: str) -> str:
    rows = "      - ${dataset.path}\n"
    return text.replace(rows, f"{rows}      - ${{dataset.held_out}}\n", 1)


def _with_dependency(text: str, path: str, *after: str) -> str:
    for lines in after:
        text = text.replace(lines, f"{lines}      - {as_yaml(path)}\n", 1)
    return text


def gitignore(before: str, more: list[str]) -> bytes:
    """Return .gitignore with every line that keeps rows, models and the key out of git.

    Parameters
    ----------
    before
        What it holds already.
    more
        More lines, such as exceptions from `/data/?*`.
    """
    lines = template("sisa/gitignore").decode().splitlines()
    at = lines.index("/models/?*")
    lines[at:at] = more
    missing = [line for line in lines if line not in before.splitlines()]
    gap = "" if before == "" or before.endswith("\n") else "\n"
    return (before + gap + "".join(f"{line}\n" for line in missing)).encode()


def template(name: str) -> bytes:
    """Return a file that is shipped with the command."""
    return (files("unlearn.cli") / "templates" / name).read_bytes()
