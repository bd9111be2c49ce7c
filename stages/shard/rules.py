"""A change of how ids are read must not bring anybody back whom the forget list names."""

from typing import Any

from unlearn.stages.config.dataset import ID_SETTINGS, DatasetParams
from unlearn.stages.context import Context
from unlearn.stages.dvc.lockfile import load_lock
from unlearn.stages.errors import InputError
from unlearn.stages.rows.identity import dataset_tokens
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.tokens import Tokenizer


def refuse_lost_lines(context: Context) -> None:
    """Refuse to read ids by other rules than in the last run, if lines of the list get lost.

    The list holds tokens, and tokens follow from the rules. With others, a line may no longer
    match the rows that it was made for.

    Raises
    ------
    InputError
        If `identity` changed, which can be a change for any line, or a type did and rows of the
        dataset would return.
    """
    before = _last_run(context)
    if before is None or IdRules.of(before) == IdRules.of(context.params.dataset):
        return
    lines = len(context.read_list().lines)
    if not lines:
        return
    changed = ", ".join(
        f"dataset.{name}"
        for name in ID_SETTINGS
        if getattr(before, name) != getattr(context.params.dataset, name)
    )
    hint = "set it back; other rules need a new project, with all requests made again"
    if IdRules.of(before).folded != IdRules.of(context.params.dataset).folded:
        raise InputError(
            f"{changed} was changed, but the forget list has {lines:,} lines from before: they "
            "would no longer match the rows that they were made for",
            hint,
        )
    if returning := _returning_rows(context, before):
        raise InputError(
            f"{changed} was changed: {returning:,} rows that the forget list names would return",
            hint,
        )


def _last_run(context: Context) -> DatasetParams | None:
    """Return the settings with the rules of the last run; None if there was none."""
    recorded = load_lock(context.project).get("shard", {}).get("params", {})
    section: Any = recorded.get("params.yaml", {}).get("dataset")
    if not isinstance(section, dict):
        return None
    rules = {name: section.get(name) for name in ID_SETTINGS}
    return context.params.dataset.model_copy(update=rules)


def _returning_rows(context: Context, before: DatasetParams) -> int:
    dataset, forget_list = context.params.dataset, context.read_list()
    tokenizer = Tokenizer(context.key, IdRules.of(before))
    count = 0
    for name in filter(None, (dataset.path, dataset.held_out)):
        path = context.project.root / name
        old = dataset_tokens(path, before.of_any_type(name), tokenizer)
        new = dataset_tokens(path, dataset.of_any_type(name), context.tokenizer)
        for one, other in zip(old, new, strict=True):
            was = forget_list.mask(one.records, one.subjects)
            is_now = forget_list.mask(other.records, other.subjects)
            count += sum(a and not b for a, b in zip(was, is_now, strict=True))
    return count
