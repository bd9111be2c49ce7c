"""`unlearn stage`: what dvc.yaml calls."""

from importlib import import_module
from typing import Annotated

import typer
from unlearn.cli import completion
from unlearn.cli.lazy import Command
from unlearn.stages.context import Context, open_project
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project

#: Stages that run once; each is the function `run` of its module, which is imported to run it.
_WHOLE = {
    "recipe": "unlearn.cli.stage.recipe",
    "shard": "unlearn.cli.stage.shard",
    "forget": "unlearn.cli.stage.forget",
    "train": "unlearn.cli.stage.train_whole",
    "young": "unlearn.cli.stage.young",
    "aggregate": "unlearn.cli.stage.aggregate",
    "verify": "unlearn.cli.stage.verify",
}
#: Stages that run for each shard, or for each method: `run` takes its name.
_EACH = {"train": "unlearn.cli.stage.train", "unlearn": "unlearn.cli.stage.unlearn"}


def stage(
    name: Annotated[
        str,
        typer.Argument(
            metavar="STAGE",
            autocompletion=completion.stage_names,
            help="The stage: recipe, shard, forget, train, train@sNNN, young, unlearn@METHOD, "
            "aggregate or verify.",
        ),
    ],
) -> None:
    """Run one stage of the pipeline, as dvc.yaml does.

    `unlearn repro` and `dvc repro` run all stages that are out of date.
    """
    project = find_project()
    # Few stages are jobs of the engine `command`, and those are trainings.
    if name.startswith("train@") and import_module("unlearn.cli.stage.job").run(project, name):
        return
    run_stage(open_project(project), name)


def run_stage(context: Context, name: str) -> None:
    """Run a stage in this process.

    Parameters
    ----------
    context
        The project.
    name
        The stage, as dvc.yaml names it.

    Raises
    ------
    UnlearnError
        What the stage raises, and if there is no such stage.
    """
    group, _, item = name.partition("@")
    if item and group in _EACH:
        import_module(_EACH[group]).run(context, item)
    elif name in _WHOLE:
        import_module(_WHOLE[name]).run(context)
    else:
        raise InputError(
            f"there is no stage {name!r}",
            "stages: recipe, shard, forget, train@sNNN, train, young, unlearn@METHOD, "
            "aggregate, verify",
        )


COMMAND = Command(stage, example="unlearn stage train@s000", answer=None)
