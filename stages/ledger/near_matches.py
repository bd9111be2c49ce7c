"""What would match a row, where an id as it is written does not."""

import re
import unicodedata
from collections.abc import Iterator

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.lookup import find_tokens
from unlearn.stages.rows.forget_list import SUBJECT_PREFIX
from unlearn.stages.rows.tokens import PREFIX, Kind

QUOTES = "\"'`"

#: Characters without a width, which nobody sees.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_NO_BREAK = re.compile("[\u00a0\u2007\u202f]")
_SEPARATORS = re.compile(r"[,;\t|\r]")


def near_match(context: Context, kind: Kind, raw: str) -> str | None:
    """Return how an id has to be written to match a row; None if no such way is known.

    Parameters
    ----------
    context
        The project.
    kind, raw
        What the id was meant to name, and the id; it is not in the answer.
    """
    parts = [part.strip().strip(QUOTES) for part in _SEPARATORS.split(raw)]
    parts = [part for part in parts if part]
    if len(parts) > 1 and all(_is_known(context, kind, part) for part in parts):
        return "if it were several lines: it holds more than one id"
    for change, other, text in _variants(context, kind, raw):
        if _is_known(context, other, text):
            return change
    return None


def _is_known(context: Context, kind: Kind, raw: str) -> bool:
    if raw == "" or raw.startswith(PREFIX):
        return False
    try:
        token = context.tokenizer.token(kind, raw)
    except InputError:
        return False  # no id of this dataset can be written so
    records = {token} if kind == "record" else set()
    found = find_tokens(context, records, {token} - records)
    return bool(found.subject_of or found.subjects)


def _variants(context: Context, kind: Kind, raw: str) -> Iterator[tuple[str, Kind, str]]:
    """Yield what may have been meant: what is different, the kind of id, and the id."""
    visible = _INVISIBLE.sub("", raw)
    bare = _NO_BREAK.sub(" ", visible).strip().strip(QUOTES).strip()
    changes = {
        "without an invisible character in it": visible,
        "without the no-break space around it": _NO_BREAK.sub(" ", raw).strip()
        if _NO_BREAK.search(raw)
        else raw,
        "without the space around it": raw.strip(),
        "without the quotes around it": raw.strip(QUOTES),
        "without the comma or semicolon at its end": raw.rstrip(",; \t"),
        "in lower case": raw.lower(),
        "in upper case": raw.upper(),
        "without the space and the quotes around it": bare,
        "without spaces and quotes, in lower case": bare.lower(),
        "without spaces and quotes, in upper case": bare.upper(),
        "with plain characters (Unicode NFKC)": unicodedata.normalize("NFKC", bare),
    }
    for change, text in changes.items():
        if text not in ("", raw):
            yield change, kind, text
    if not context.has_subjects:
        return
    if kind == "subject":
        yield "as the id of a record", "record", raw
        return
    yield f"as a person's id: `--subjects`, or `{SUBJECT_PREFIX}` in the list", "subject", raw
    head, _, rest = raw.partition(":")
    if head.strip().lower() == SUBJECT_PREFIX.rstrip(":") and rest.strip():
        yield f"with exactly `{SUBJECT_PREFIX}` before the id", "subject", rest.strip()
