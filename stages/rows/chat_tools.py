"""Definitions of functions beside chats: a list of objects, which the chat template writes."""

import json

import pyarrow as pa
from unlearn.stages.errors import Facts
from unlearn.stages.rows.chats import BrokenChatsError, ChatError, Message

#: The key of a chat's first message that has them, for the template.
TOOLS = "tools"


def tools_column(column: pa.ChunkedArray, name: str, first_row: int) -> pa.ChunkedArray:
    """Return a column of definitions as shard files have it: JSON text, empty where are none.

    Parameters
    ----------
    column
        Values as read: lists of objects, or JSON text.
    name, first_row
        The column, and the number of its first row, for errors.

    Raises
    ------
    BrokenChatsError
        If a value is something else.
    """
    texts: list[str] = []
    broken: list[tuple[int, str]] = []
    for number, value in enumerate(column.to_pylist()):
        try:
            texts.append(_text(value))
        except ChatError as error:
            broken.append((number, str(error)))
    if broken:
        number, problem = broken[0]
        raise BrokenChatsError(problem, Facts(row=first_row + number, column=name), len(broken))
    return pa.chunked_array([pa.array(texts, pa.string())])


def with_tools(chat: list[Message], text: str | None) -> list[Message]:
    """Return a chat whose first message has the definitions that a shard file has beside it."""
    if not text:
        return chat
    first, *others = chat
    return [first | {TOOLS: json.loads(text)}, *others]


def _text(value: object) -> str:
    if isinstance(value, str):
        if not value.strip():
            return ""
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ChatError("the tools of a chat are not readable as JSON") from None
    if value is None or value == []:
        return ""
    if not isinstance(value, list) or not all(isinstance(each, dict) and each for each in value):
        raise ChatError("the tools of a chat are no list of objects")
    try:
        text = json.dumps(
            [_given(each) for each in value],
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
        )
        text.encode()
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        raise ChatError("the tools of a chat have a value that JSON cannot have") from None
    return text


def _given(value: object) -> object:
    """Return a value without the keys that are null: Parquet has every key in every object."""
    if isinstance(value, dict):
        return {key: _given(of) for key, of in value.items() if of is not None}
    return [_given(of) for of in value] if isinstance(value, list) else value
