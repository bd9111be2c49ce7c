"""From models in their folders to language models that answer as one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load as load_tensors
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import LoraEstimator
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.final_model.files import read_final_model
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble, LanguageMember
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text import adapters
from unlearn.stages.text.base import locate
from unlearn.stages.training.shard_model import ShardModel


def load_language_model(
    folder: str | Path, root: Path, *, base: str | None = None
) -> LanguageEnsemble:
    """Load a final model of adapters, or one whole tuned model.

    Parameters
    ----------
    folder
        `models/final_model`, or a copy of it.
    root
        Where a relative path of the base starts from: the project's folder.
    base
        Where the base is, if not where params.yaml said; its files must be the pinned ones.

    Raises
    ------
    InputError
        If the folder is not a whole final model, was changed after it was made, or the base is
        another one.

    Examples
    --------
    >>> import pyarrow as pa
    >>> model = load_language_model("models/final_model", Path())
    >>> answers = model.generate(pa.table({"prompt": ["Where was Ada Holm born?"]}), 8)
    >>> len(answers)
    1
    """
    description, models = read_final_model(Path(folder))
    if description.dataset.modality != "text":
        raise InputError("this final model reads no text: load_ensemble loads it")
    if base is not None:
        models = [(shard, _on(model, base, root)) for shard, model in models]
    return open_language_models(models, description.dataset, description.rule, root)


def _on(model: ShardModel, base: str, root: Path) -> ShardModel:
    train = model.description["train"]
    options = train["options"]
    # The commit is of the one hub name; what files another one has is checked in any case.
    revision = options.get("revision") if base == options["base"] else None
    locate(base, root, revision)
    # A folder by its whole path, which may lead out of the project; else a hub name.
    place = str((root / base).resolve()) if (root / base).is_dir() else base
    moved = train | {"options": options | {"base": place, "revision": revision}}
    return replace(model, description=model.description | {"train": moved})


def open_language_models(
    models: Sequence[tuple[str, ShardModel]],
    dataset: DatasetParams,
    rule: AggregationRule,
    root: Path,
) -> LanguageEnsemble:
    """Open language models as one.

    Parameters
    ----------
    models
        Shard and model of each member; those without rows are left out.
    dataset
        What of params.yaml reading new rows takes.
    rule
        How they answer together.
    root
        The project's folder, which the base's path starts from.

    Raises
    ------
    InputError
        If the base is not the one that the models name, or weights do not fit.
    """
    members = [(name, model) for name, model in models if model.kind != "empty"]
    if not members:
        raise InputError("the final model has no members: every shard lost all its rows")
    first = members[0][1]
    train = TrainParams.model_validate(first.description["train"])
    estimator = make_text_estimator(train, Layout.of(dataset), root)
    told = [LanguageMember(name, int(model.description["rows"])) for name, model in members]
    if not isinstance(estimator, LoraEstimator):
        if len(members) > 1:
            raise InputError("whole language models cannot be combined: only adapters can")
        module = estimator.open(first.weights or b"", first.description)
        return LanguageEnsemble(estimator, module, told, rule, dataset)
    (name, model), *others = members
    wrapped = adapters.wrap(estimator.base, _shape(model), name=name)
    adapters.restore(wrapped, load_tensors(model.weights or b""), name)
    for name, model in others:
        adapters.add(wrapped, _shape(model), name, load_tensors(model.weights or b""))
    return LanguageEnsemble(estimator, wrapped, told, rule, dataset)


def _shape(model: ShardModel) -> adapters.Shape:
    return adapters.Shape.from_json(model.description["adapter"])
