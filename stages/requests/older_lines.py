"""Lines of earlier project keys: what becomes of them, on the list and in the log."""

from collections.abc import Collection, Iterable

from unlearn.stages.context import Context
from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.log import new_entry, read_log
from unlearn.stages.ledger.lookup import KnownTokens, look_in_canaries
from unlearn.stages.ledger.transaction import Change, apply_change, changed_list
from unlearn.stages.rows.canaries import coin
from unlearn.stages.rows.epochs import Epochs, Rotation, is_older, split_token
from unlearn.stages.rows.forget_list import LEFT_OUT, ForgetList


def bring_forward(context: Context, forget_list: ForgetList) -> None:
    """Write lines of earlier keys as those of the present one; the caller holds the list's lock.

    A branch from before the rotation brings them. The log notes what became of their tokens, for
    clones without the key.
    """
    project = context.project
    check_anchor()
    log = read_log(project, context.key)
    lines = {line.removesuffix(LEFT_OUT): present for line, present in forget_list.older.items()}
    marked = {present for line, present in forget_list.older.items() if line.endswith(LEFT_OUT)}
    left_out = left_out_now(context, lines.values(), marked)
    added = {log.epochs.written(marked_line(line, left_out)) for line in lines.values()}
    removed = forget_list.older.keys()
    after = changed_list(project.forget_list.read_bytes(), added, removed)
    rotation = rotation_of(lines, log.epochs, left_out | log.epochs.left_out)
    entry = new_entry(log, "rekey", (), after).model_copy(update={"rotation": rotation})
    change = Change(added=tuple(sorted(added)), removed=tuple(sorted(removed)), entry=entry)
    apply_change(project, change)
    write_anchor(read_log(project))


def marked_line(line: str, left_out: Collection[str]) -> str:
    """Return a line in memory, with its mark if it belongs to a canary that no shard has."""
    return line + LEFT_OUT if line in left_out else line


def left_out_now(context: Context, lines: Iterable[str], marked: Collection[str]) -> frozenset[str]:
    """Return the lines that belong to canaries which no shard has with the present key.

    Another key tosses other coins.

    Parameters
    ----------
    context
        The project.
    lines
        Lines in memory, without marks.
    marked
        Those of them that belonged to such a canary with an earlier key.
    """
    lines = list(lines)
    parts = {part for line in lines for part in line.split(".")}
    known = KnownTokens()
    look_in_canaries(context, parts, parts, known)
    found = {line for line in lines if line.rpartition(".")[2] in known.left_out}
    for line in set(marked) - found:
        record = line.rpartition(".")[2]
        # A canary that has left its file since.
        if record not in known.subject_of and not coin(context.key, record):
            found.add(line)
    return frozenset(found)


def rotation_of(lines: Iterable[str], epochs: Epochs, left_out: Iterable[str] = ()) -> Rotation:
    """Return what becomes of the tokens of lines.

    Parameters
    ----------
    lines
        Lines as git has them, without marks.
    epochs
        The epoch to bring them to, with its key.
    left_out
        Lines in memory that belong to canaries which no shard has.
    """
    tokens: dict[str, dict[str, str]] = {}
    for token in {part for line in lines for part in line.split(".")}:
        present = epochs.present(token)
        if is_older(token, epochs.number) and present is not None:
            epoch, digest = split_token(token)
            tokens.setdefault(str(epoch), {})[digest] = split_token(present)[1]
    return Rotation(
        epoch=epochs.number,
        key_check="" if epochs.key is None else epochs.key.check,
        tokens={epoch: dict(sorted(found.items())) for epoch, found in sorted(tokens.items())},
        left_out=tuple(
            sorted(".".join(split_token(part)[1] for part in line.split(".")) for line in left_out)
        ),
    )
