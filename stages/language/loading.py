"""Loading the final model of a language project from its folder."""

from dataclasses import replace
from pathlib import Path

from unlearn.stages.ensemble import read_final_model
from unlearn.stages.errors import InputError
from unlearn.stages.language.ensemble import LanguageEnsemble, open_language_models
from unlearn.stages.shard_model import ShardModel


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
        If the folder is not a whole final model, was changed since it was made, or the base is
        another one.

    Examples
    --------
    >>> model = load_language_model("models/final_model", Path())  # doctest: +SKIP
    >>> model.generate(rows, 32)  # doctest: +SKIP
    ['Ada Holm was born in Bergen.']
    """
    description, models = read_final_model(Path(folder))
    if not description.dataset.is_text:
        raise InputError("this final model reads no text: load_ensemble loads it")
    if base is not None:
        # A folder by its whole path, which may lead out of the project; else a hub name.
        place = str((root / base).resolve()) if (root / base).is_dir() else base
        models = [(shard, _on(model, place)) for shard, model in models]
    return open_language_models(models, description.dataset, description.rule, root)


def _on(model: ShardModel, base: str) -> ShardModel:
    train = model.description["train"]
    moved = train | {"options": train["options"] | {"base": base}}
    return replace(model, description=model.description | {"train": moved})
