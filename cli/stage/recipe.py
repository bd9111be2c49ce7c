"""The stage `recipe`."""

from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_code_is_a_dependency, check_lists_are_read
from unlearn.stages.recipe import stage


def run(context: Context) -> None:
    """Write the settings of all trainings into one file."""
    check_lists_are_read(context.project, context.params)
    check_code_is_a_dependency(context.project, context.params)
    stage.run(context)
