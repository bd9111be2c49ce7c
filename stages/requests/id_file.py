"""Files of ids as people export them: with a header, with quotes, with commas."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from unlearn.stages.context import Context
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.lookup import KnownTokens, find_tokens
from unlearn.stages.ledger.near_matches import QUOTES, near_match
from unlearn.stages.rows.forget_list import text_lines
from unlearn.stages.rows.tokens import PREFIX, Kind, check_raw_id

#: The position of an id in a file, as `read_ids` writes it.
_LINE = re.compile(r"line ([0-9]+)")

#: How many ids an error explains.
_SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """Raw ids that a request names, each with where it was read, and the files of ids.

    `record_tokens` and `subject_tokens` are tokens of rows that were found by something else than
    their ids.
    """

    records: tuple[tuple[str, str], ...] = ()
    subjects: tuple[tuple[str, str], ...] = ()
    record_file: str | None = None
    subject_file: str | None = None
    record_tokens: tuple[tuple[str, str], ...] = ()
    subject_tokens: tuple[tuple[str, str], ...] = ()

    @property
    def count(self) -> int:
        """Ids in all, each counted once."""
        named = (self.records, self.subjects, self.record_tokens, self.subject_tokens)
        return sum(len({name for name, _ in pairs}) for pairs in named)

    def facts(self, kind: Kind, wheres: Sequence[str]) -> Facts:
        """Return the lines of the file of ids at these positions, for an error."""
        lines = tuple(int(match[1]) for match in map(_LINE.fullmatch, wheres) if match)
        file = self.record_file if kind == "record" else self.subject_file
        return Facts(file=file if lines else None, line=lines[0] if lines else None, lines=lines)


def read_ids(content: bytes, name: str) -> list[tuple[str, str]]:
    """Return the ids in a file, one per line, each with its position.

    Blank lines, CRLF, the line ends of old Macintosh programs (CR alone) and a byte-order mark are
    fine.

    Raises
    ------
    InputError
        If there is none, or the file is not UTF-8 text, or an id begins like a token.
    """
    if b"\n" not in content and b"\r" in content:
        content = content.replace(b"\r", b"\n")
    found = []
    for number, line in enumerate(text_lines(content, name), start=1):
        if line != "":
            check_raw_id(line, Facts(file=name, line=number))
            found.append((line, f"line {number}"))
    if not found:
        raise InputError(f"{name} holds no ids", facts=Facts(file=name))
    return found


def understand(context: Context, wanted: Wanted) -> tuple[Wanted, list[str]]:
    """Return a request without what its file has around the ids, and what that was.

    Only what cannot mean anything else: the name of the column in the first line, and quotes or a
    comma around an id that the dataset has, while it has no id with them. A space is never left
    out: it may be part of an id.

    Returns
    -------
    Wanted
        The ids.
    list of str
        A sentence for each kind of change.
    """
    notes: list[str] = []
    dataset = context.params.dataset
    records = _understood(context, "record", wanted.records, dataset.id, notes)
    subjects = wanted.subjects
    if dataset.subject is not None:
        subjects = _understood(context, "subject", wanted.subjects, dataset.subject, notes)
    return replace(wanted, records=records, subjects=subjects), notes


def _understood(
    context: Context,
    kind: Kind,
    ids: Sequence[tuple[str, str]],
    column: str,
    notes: list[str],
) -> tuple[tuple[str, str], ...]:
    odd = {raw: bare for raw, _ in ids if (bare := _bare(raw)) not in ("", raw)}
    header = next((raw for raw, where in ids if where == "line 1" and _bare(raw) == column), None)
    if header is None and not odd:
        return tuple(ids)
    known = _known(context, kind, [*odd, *odd.values(), *([header] if header else [])])
    kept = []
    changed = 0
    for raw, where in ids:
        if raw == header and where == "line 1" and raw not in known:
            notes.append("line 1 is the name of the column of ids, and was skipped")
        elif raw in odd and raw not in known and odd[raw] in known:
            kept.append((odd[raw], where))
            changed += 1
        else:
            kept.append((raw, where))
    if changed:
        ids_ = "1 id" if changed == 1 else f"{changed:,} ids"
        notes.append(f"quotes or commas around {ids_} were left out")
    return tuple(kept)


def _bare(raw: str) -> str:
    """Return an id without one comma or semicolon at its end, and one pair of quotes around it."""
    text = raw[:-1] if raw.endswith((",", ";")) else raw
    if len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES:
        text = text[1:-1]
    return text


def _known(context: Context, kind: Kind, ids: Sequence[str]) -> set[str]:
    """Return those ids that the dataset has."""
    tokens: dict[str, str] = {}
    for raw in ids:
        if raw and not raw.startswith(PREFIX):
            try:
                tokens[raw] = context.tokenizer.token(kind, raw)
            except InputError:
                continue  # no id of this dataset can be written so
    wanted = set(tokens.values())
    found = KnownTokens()
    if wanted:
        records = wanted if kind == "record" else set()
        found = find_tokens(context, records, wanted - records)
    here = found.subject_of.keys() | found.subjects
    return {raw for raw, token in tokens.items() if token in here}


def hints(context: Context, unknown: Sequence[tuple[Kind, str, str]]) -> Iterator[str]:
    """Yield what would match, for the first unknown ids; never an id.

    Parameters
    ----------
    context
        The project.
    unknown
        The kind of each id, the id, and where it was read.
    """
    for kind, raw, where in unknown[:_SHOWN]:
        if (change := near_match(context, kind, raw)) is not None:
            yield f"{where} would match a row {change}"
