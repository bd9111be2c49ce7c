"""Entry of the `recipe` stage."""

from unlearn.stages.context import Context
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.text.base import find_base
from unlearn.stages.training.own_training import check_own_training
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.trial import check_repeatable


def run(context: Context) -> None:
    """Write `data/recipe.json`: what every training of the project has in common.

    Each `train@` depends on this one file. So dvc.lock has the settings once, and DVC does not read
    params.yaml for every shard.

    Raises
    ------
    InputError
        If the base of a language model, or the backbone of a network, is not the one that
        params.yaml names: DVC is about to record it. Or if two fits of an estimator with one seed
        differ, or training code of the user's own depends on more than it is given.
    """
    recipe = Recipe.of_project(context)
    if recipe.layout.modality == "text":
        find_base(text_options(recipe.train), context.project.root)
    if recipe.train.freeze is not None:
        # Torch, for networks alone.
        from unlearn.stages.estimators.frozen import read_backbone

        read_backbone(recipe.train.freeze, recipe.root)
    check_repeatable(recipe)
    check_own_training(recipe)
    write_bytes(context.project.recipe, json_bytes(recipe.as_json()))
