"""Lines that a person wrote into the forget list: each has to match a row, or stops the run."""

from collections.abc import Iterator

from unlearn.stages.context import Context
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.lookup import KnownTokens, find_tokens, look_in_canaries
from unlearn.stages.ledger.near_matches import near_match
from unlearn.stages.rows.forget_list import LEFT_OUT, SUBJECT_PREFIX, ForgetList, HandWritten

#: How many lines an error points to.
_SHOWN = 5


def check_hand_written(context: Context, forget_list: ForgetList) -> KnownTokens:
    """Look the lines written by hand up in the rows.

    Returns
    -------
    KnownTokens
        What the rows say about their tokens; empty if no line was written by hand.

    Raises
    ------
    InputError
        If a line matches no row. The message names the lines, and what would match.
    """
    if not forget_list.hand_written:
        return KnownTokens()
    records = {line.token for line in forget_list.hand_written if line.kind == "record"}
    subjects = {line.token for line in forget_list.hand_written if line.kind == "subject"}
    known = find_tokens(context, records, subjects)
    listed = {
        part
        for line in forget_list.token_lines
        for part in (line, line.rpartition(".")[2], line.partition(".")[0])
    }
    # A record that was forgotten, and whose rows have left the dataset since, is on the list.
    found = known.subject_of.keys() | known.subjects | listed
    if unknown := [line for line in forget_list.hand_written if line.token not in found]:
        numbers = tuple(line.number for line in unknown)
        facts = Facts(file="data/forget_list.txt", line=numbers[0], lines=numbers)
        raise InputError(_message(unknown), *_hints(context, unknown), facts=facts)
    return known


def _message(unknown: list[HandWritten]) -> str:
    shown = ", ".join(str(line.number) for line in unknown[:_SHOWN])
    shown += ", ..." if len(unknown) > _SHOWN else ""
    if len(unknown) == 1:
        return f"data/forget_list.txt, line {shown}: matches no row of the dataset"
    return f"data/forget_list.txt, lines {shown}: match no row of the dataset"


def _hints(context: Context, unknown: list[HandWritten]) -> Iterator[str]:
    """Yield what would match, by line; never the id."""
    for line in unknown[:_SHOWN]:
        if (change := near_match(context, line.kind, line.raw)) is not None:
            yield f"line {line.number} would match a row {change}"
    yield "correct the line, or delete it; `unlearn forget --suppress` lists an id without rows"


def resolved_lines(context: Context, forget_list: ForgetList) -> tuple[set[str], set[str]]:
    """Return what the lines written by hand become.

    Returns
    -------
    set of str
        The lines of tokens that replace them: with the subject before the record where the
        dataset names one, and with the mark of canaries that are in no shard.
    set of str
        The lines that they replace, as they are written.

    Raises
    ------
    InputError
        If a line matches no row.
    """
    known = check_hand_written(context, forget_list)
    if not forget_list.hand_written:
        return set(), set()
    written = set(forget_list.tokens)
    look_in_canaries(context, written, written, known)
    subjects = {token: subject for token, subject in known.subject_of.items() if subject}
    added, removed = set(), set()
    for line in forget_list.hand_written:
        token = f"{subjects[line.token]}.{line.token}" if line.token in subjects else line.token
        added.add(token + (LEFT_OUT if line.token in known.left_out else ""))
        removed.add((SUBJECT_PREFIX if line.kind == "subject" else "") + line.raw)
    return added, removed
