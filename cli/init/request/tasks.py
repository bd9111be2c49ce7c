"""What `init --task` takes, and why it does not take other tasks."""

from collections.abc import Sequence
from typing import get_args

from unlearn.stages.config.section import Task
from unlearn.stages.errors import InputError

#: Tasks that people may ask for, and what to do in place of them.
_OTHERS = {
    "ordinal": (
        "ordered classes are not supported: no model here knows their order",
        "--task classification trains them as classes without an order",
        (
            "if the distances between them mean something, write them as numbers, and use "
            "--task regression"
        ),
    ),
    "multilabel": (
        (
            "several labels of a row are not supported: a model here has one target, and so have "
            "its evidence and its attacks"
        ),
        (
            "make a project for each label, with the same --dataset and --id, another --target, "
            "and --drop for the other labels"
        ),
    ),
}
_ALIASES = {"multi-label": "multilabel", "multioutput": "multilabel", "ranking": "ordinal"}


def one_target(columns: Sequence[str] | None) -> str | None:
    """Return the column that `--target` names.

    Raises
    ------
    InputError
        If it names several.
    """
    if columns and len(columns) > 1:
        reason, *hints = _OTHERS["multilabel"]
        raise InputError(f"--target names {len(columns)} columns: {reason}", *hints)
    return columns[0] if columns else None


def task_of(name: str) -> Task:
    """Return the task of a name.

    Raises
    ------
    InputError
        If it is none, with the way round where there is one.

    Examples
    --------
    >>> task_of("regression")
    'regression'
    """
    known: tuple[Task, ...] = get_args(Task)
    for task in known:
        if name == task:
            return task
    reason, *hints = _OTHERS.get(_ALIASES.get(name, name), (f"must be one of {', '.join(known)}",))
    raise InputError(f"--task {name}: {reason}", *hints)
