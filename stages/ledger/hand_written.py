"""Lines that a person wrote into the forget list: each has to match a row, or stops the run."""

import unicodedata
from collections.abc import Iterator

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.lookup import KnownTokens, find_tokens, look_in_canaries
from unlearn.stages.rows.forget_list import LEFT_OUT, SUBJECT_PREFIX, ForgetList, HandWritten
from unlearn.stages.rows.tokens import PREFIX, Kind

#: How many lines an error points to.
_SHOWN = 5
_QUOTES = "\"'`"


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
        raise InputError(_message(unknown), *_hints(context, unknown))
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
        for change, kind, raw in _variants(context, line):
            try:
                token = context.tokenizer.token(kind, raw)
            except InputError:
                continue  # no id of this dataset can be written so
            records = {token} if kind == "record" else set()
            found = find_tokens(context, records, {token} - records)
            if found.subject_of or found.subjects:
                yield f"line {line.number} would match a row {change}"
                break
    yield "correct the line, or delete it; `unlearn forget --suppress` lists an id without rows"


def _variants(context: Context, line: HandWritten) -> Iterator[tuple[str, Kind, str]]:
    """Yield what the person may have meant: what is different, the kind of id, and the id."""
    raw = line.raw
    bare = raw.strip().strip(_QUOTES).strip()
    changes = {
        "without the space around it": raw.strip(),
        "without the quotes around it": raw.strip(_QUOTES),
        "without the comma or semicolon at its end": raw.rstrip(",; \t"),
        "in lower case": raw.lower(),
        "in upper case": raw.upper(),
        "without the space and the quotes around it": bare,
        "without spaces and quotes, in lower case": bare.lower(),
        "without spaces and quotes, in upper case": bare.upper(),
        "with plain characters (Unicode NFKC)": unicodedata.normalize("NFKC", bare),
    }
    for change, text in changes.items():
        if text not in ("", raw) and not text.startswith(PREFIX):
            yield change, line.kind, text
    if context.has_subjects and line.kind == "record":
        yield f"as a person's id, with `{SUBJECT_PREFIX}` before it", "subject", raw
        head, _, rest = raw.partition(":")
        if head.strip().lower() == SUBJECT_PREFIX.rstrip(":") and rest.strip():
            yield f"with exactly `{SUBJECT_PREFIX}` before the id", "subject", rest.strip()


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
