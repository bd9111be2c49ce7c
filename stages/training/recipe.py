"""What the models of a project are made from, besides rows and environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn.stages.config.dataset import (
    ID_SETTINGS,
    READING_SETTINGS,
    TASK_SETTINGS,
    TRAINING_SETTINGS,
)
from unlearn.stages.config.params import ALGORITHM, Params
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import digest_json, json_bytes
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.rows.tokens import Key
from unlearn.stages.training.lineage import is_whole, read_lineage, seal
from unlearn.stages.training.shard_model import digest_code

#: What errors call the file of the stage `recipe`.
RECIPE = "data/recipe.json"


@dataclass(frozen=True)
class Recipe:
    """All that the models of a project are made from, except rows and environment.

    Parameters
    ----------
    train
        Model, budget and preprocessing.
    slices
        Slices a shard.
    layout
        Features and classes.
    seed, key
        What the random numbers follow from.
    code
        The user's own module file, where `train.model` names one.
    root
        The project's folder, which a base's path starts from.
    """

    train: TrainParams
    slices: int
    layout: Layout
    seed: int
    key: Key
    code: Path | None
    root: Path = Path()

    @property
    def skips_empty_slices(self) -> bool:
        """Whether a slice without rows of its own trains nothing.

        It is so where a slice has layers of its own. All other slices go on training the same
        weights on the rows of earlier ones.
        """
        return bool(self.train.options.get("layers_by_slice", False))

    @classmethod
    def of(cls, params: Params, key: Key, root: Path) -> "Recipe":
        """Return the recipe that a project's settings describe."""
        code = params.train.code_path
        return cls(
            train=params.train,
            slices=params.sharding.slices,
            layout=Layout.of(params.dataset),
            seed=params.seed,
            key=key,
            code=None if code is None else root / code,
            root=root,
        )

    @classmethod
    def of_project(cls, context: Context) -> "Recipe":
        """Return the recipe of a project."""
        return cls.of(context.params, context.key, context.project.root)

    def as_json(self) -> dict[str, Any]:
        """Return what all models have in common, as the file of the stage `recipe` says it."""
        return {
            "algorithm": ALGORITHM,
            "train": self.train.model_dump(mode="json"),
            "slices": self.slices,
            "layout": self.layout.as_json(),
            "seed": self.seed,
            "key_check": self.key.check,
            "code": None if self.code is None else digest_code(self.code),
            **({"codes": others} if (others := self._other_code()) else {}),
        }

    def _other_code(self) -> dict[str, str]:
        """Return the digests of the user's own files beside that of the model, by their path."""
        own = self.train.code_path
        paths = [path for path in self.train.code_paths if path != own]
        return {path: digest_code(self.root / path, "train") for path in paths}

    def digest(self, shard: str) -> str:
        """Digest of the recipe for one shard, in hex."""
        return digest_json(self.as_json() | {"shard": shard})


def check_recorded(context: Context, recipe: Recipe) -> None:
    """Make sure that the file of the stage `recipe` says what the settings are now.

    DVC records that file as what a model was trained with.

    Raises
    ------
    InputError
        If it is missing, or says something else.
    """
    path = context.project.recipe
    if not path.is_file() or path.read_bytes() != json_bytes(recipe.as_json()):
        raise InputError(
            f"{RECIPE} does not have the current settings",
            "`unlearn repro` writes it before it trains",
        )


def is_outdated(recipe: Recipe, shard: str, folder: Path, retain_nonce: str) -> bool:
    """Return whether a shard model was made from something else, or edited since.

    DVC hashes dependencies when a stage has ended: a setting that changed meanwhile is recorded as
    if it had been used. And `dvc commit` records any file.

    Parameters
    ----------
    recipe, shard
        The current settings, and the shard's name.
    folder
        The shard model's.
    retain_nonce
        Of the shard's current retain file.
    """
    try:
        lineage = read_lineage(folder)
    except InputError:
        return True
    return (
        lineage is None
        or lineage.seal != seal(recipe.key, lineage)
        or lineage.recipe != recipe.digest(shard)
        or lineage.retain != retain_nonce
        or not is_whole(folder, lineage)
    )


def settings_digest(params: Params) -> str:
    """Digest of all settings that a report depends on; made without the key.

    Paths of dataset, canaries and held-out rows are left out, and so are columns of contact data,
    branches, requests and what of the report is published: they say nothing about the models.
    """
    settings = params.model_dump(mode="json")
    del settings["verify"]["publish"]
    for name in ("path", "canaries", "held_out", "contact"):
        del settings["dataset"][name]
    for name in TASK_SETTINGS:
        del settings["dataset"][name]
    settings["dataset"] |= params.dataset.own_task
    for name in (*ID_SETTINGS, *READING_SETTINGS, *TRAINING_SETTINGS, "weight"):
        # Reports from before these settings stay current.
        if settings["dataset"][name] is None:
            del settings["dataset"][name]
    _drop_defaults(settings["dataset"], {"missing_columns": "refuse"})
    _drop_defaults(settings["verify"], {"online": False})
    _drop_defaults(settings["sharding"], {"switched_off": {}})
    del settings["ledger"], settings["requests"]
    if settings["unlearn"] is None:
        del settings["unlearn"]
    else:
        if settings["unlearn"]["language"] is None:
            del settings["unlearn"]["language"]
        # Reports from before these settings stay current.
        if not settings["unlearn"]["young"]:
            del settings["unlearn"]["young"]
        if settings["unlearn"]["guard"]["target"] is None:
            del settings["unlearn"]["guard"]["target"]
    return digest_json(settings)


def _drop_defaults(section: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Remove settings that a section has had only since a later version, if nobody set them."""
    for name, default in defaults.items():
        if section[name] == default:
            del section[name]
