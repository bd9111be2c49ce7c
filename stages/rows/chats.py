"""Chats: a list of messages in a row, and the one text that a shard file has for it.

What makes a chat broken is said in words that never quote it.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError

#: An object with `role` and `content`, and what else a template may read, such as `tool_calls`.
Message = dict[str, Any]

#: What a chat may end with: what is trained on ends with the assistant; a question need not.
Ending = Literal["assistant", "any"]

#: Roles by the names that datasets have for them: OpenAI's, and those of ShareGPT.
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "observation": "tool",
}

#: The key that says whether an answer counts, 1 or 0, as in OpenAI's format for fine-tuning.
WEIGHT = "weight"

#: ShareGPT's name for a turn of the assistant that calls a function, written as JSON.
_CALL = "function_call"

#: Keys in the order of shard files; others follow by their names.
_ORDER = ("role", "content", "name", "tool_calls", "tool_call_id")

#: Other names that tools have for weights, of which none is read.
_OTHER_WEIGHTS = ("train", "training", "trainable", "train_detail", "training_detail", "loss")

#: How many questions and answers are between them is no concern of these roles.
_SPOKEN = ("user", "tool")


#: How the problem of a chat begins that has more tokens than the context, which follows.
TOO_LONG = "a chat is longer than the context of"


def hint_for(problem: str) -> str:
    """Return what to do about chats with a problem."""
    if problem.startswith(TOO_LONG):
        return "set train.options.too_long: truncate (--too-long truncate), or a larger context"
    return "correct these rows, or remove them"


class ChatError(ValueError):
    """A chat is broken; the words say how, and quote nothing of it."""


class BrokenChatsError(InputError):
    """Some rows have chats that are broken.

    Parameters
    ----------
    problem
        What is wrong with the first of them.
    where
        The first one's place.
    count
        How many there are.
    """

    def __init__(self, problem: str, where: Facts, count: int = 1) -> None:
        others = "" if count == 1 else f"; {count:,} rows have such chats"
        super().__init__(
            f"{where}: {problem}{others}",
            hint_for(problem),
            facts=where,
        )
        self.problem, self.where, self.count = problem, where, count

    def in_file(self, file: str) -> "BrokenChatsError":
        """Return the same error with the name of the file."""
        return BrokenChatsError(self.problem, replace(self.where, file=file), self.count)

    def and_more(self, count: int) -> "BrokenChatsError":
        """Return the same error with so many rows more."""
        return BrokenChatsError(self.problem, self.where, self.count + count)


def parse_chat(value: object, ending: Ending = "assistant") -> list[Message]:
    """Return the messages of a chat, in the form of shard files.

    Parameters
    ----------
    value
        JSON text, or a list of objects: `role` with `content`, or ShareGPT's `from` with `value`.
    ending
        What it may end with.

    Returns
    -------
    list of dict
        Each has `role` (system, user, assistant or tool) and `content` (text), and what else was
        given and is not null. What is trained on ends with the last answer that counts: weights
        of 0 say which do not. A question has no weights.

    Raises
    ------
    ChatError
        If it is no chat, roles are out of order, or a message is empty.
    """
    messages = messages_of(value)
    _check(messages, ending)
    if ending == "any":
        return [{key: each[key] for key in each if key != WEIGHT} for each in messages]
    last = max((at for at, each in enumerate(messages) if counts(each)), default=None)
    if last is None:
        raise ChatError("all turns of the assistant in a chat have the weight 0")
    return messages[: last + 1]


def counts(message: Message) -> bool:
    """Return whether a message is a turn of the assistant that the loss counts."""
    return bool(message["role"] == "assistant" and message.get(WEIGHT) != 0)


def messages_of(value: object) -> list[Message]:
    """Return the messages of a chat, whatever their order; see `parse_chat`."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ChatError("a chat is not readable as JSON") from None
    if not isinstance(value, list):
        raise ChatError("a chat is no list of messages")
    return [_message(item) for item in value]


def chat_text(messages: list[Message]) -> str:
    """Return the text that a shard file has for a chat.

    Raises
    ------
    ChatError
        If JSON cannot have a value in it.
    """
    try:
        text = json.dumps(messages, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise ChatError("a text in a chat is not valid Unicode") from None
    except (TypeError, ValueError, RecursionError):
        raise ChatError("a chat has a value that JSON cannot have") from None
    return text


def chat_column(
    column: pa.ChunkedArray, name: str, first_row: int, ending: Ending = "assistant"
) -> pa.ChunkedArray:
    """Return a column of chats as shard files have it.

    Parameters
    ----------
    column
        Values as read: lists of objects, or JSON text.
    name, first_row
        The column, and the number of its first row, for errors.
    ending
        What chats may end with.

    Raises
    ------
    BrokenChatsError
        If a chat is broken, or missing.
    """
    texts: list[str] = []
    broken: list[tuple[int, str]] = []
    for number, value in enumerate(column.to_pylist()):
        try:
            if value is None:
                raise ChatError("a chat is missing")
            texts.append(chat_text(parse_chat(value, ending)))
        except ChatError as error:
            broken.append((number, str(error)))
    if broken:
        number, problem = broken[0]
        raise BrokenChatsError(problem, Facts(row=first_row + number, column=name), len(broken))
    return pa.chunked_array([pa.array(texts, pa.string())])


def ends_with_answer(text: str) -> bool:
    """Return whether a chat ends with the assistant, as a shard file has it."""
    return bool(json.loads(text)[-1]["role"] == "assistant")


def answer_of(text: str) -> str:
    """Return what the last turn of the assistant says, of a chat as a shard file has it."""
    return next((each for each in reversed(answers_of(text))), "")


def answers_of(text: str) -> list[str]:
    """Return what the turns of the assistant that count say, of a chat as a shard file has it."""
    return [str(message["content"]) for message in json.loads(text) if counts(message)]


def _message(item: object) -> Message:
    if not isinstance(item, dict):
        raise ChatError("a message of a chat is no object")
    if "role" not in item and "from" in item:
        return _of_share_gpt(item)
    given = {str(key): value for key, value in item.items() if value is not None}
    found: Message = {"role": _role(given.get("role")), "content": _text(given.get("content"))}
    # Parquet has every key in every message.
    others = {key: value for key, value in given.items() if key not in found and value != []}
    if WEIGHT in others:
        others[WEIGHT] = _weight(others[WEIGHT], found["role"])
    _refuse_other_weights(others, found["role"])
    for key in sorted(others, key=lambda key: (_place(key), key)):
        found[key] = others[key]
    calls = found.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise ChatError("the tool calls of a message are no list of objects")
        found["tool_calls"] = [
            {key: value for key, value in call.items() if value is not None} for call in calls
        ]
    return found


def _weight(value: object, role: str) -> int:
    """Return whether a turn counts, as 0 or 1: Parquet may have the number as a float."""
    if isinstance(value, bool) or value not in (0, 1):
        raise ChatError("a message has a weight that is neither 0 nor 1")
    if role != "assistant" and value == 1:
        raise ChatError(f"a message of the role {role} has the weight 1: only answers count")
    return 1 if value == 1 else 0


def _refuse_other_weights(given: Mapping[str, object], role: str) -> None:
    for key in _OTHER_WEIGHTS:
        # What says the same as no such key is no matter.
        if key in given and given[key] is not (role == "assistant"):
            raise ChatError(f"a message has {key!r}, which is not read: write 'weight', 0 or 1")


def _place(key: str) -> int:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _of_share_gpt(item: dict[Any, Any]) -> Message:
    is_call = item["from"] == _CALL
    role = "assistant" if is_call else _role(item["from"])
    given = {str(key): value for key, value in item.items() if value is not None}
    _refuse_other_weights(given, role)
    weight = {}
    if _weight(given.get(WEIGHT, 0), role) == 0 and WEIGHT in given and role == "assistant":
        weight = {WEIGHT: 0}
    if not is_call:
        return {"role": role, "content": _text(item.get("value")), **weight}
    try:
        called = json.loads(str(item.get("value")))
    except (ValueError, RecursionError):
        called = None
    if not isinstance(called, dict) or "name" not in called:
        raise ChatError("a function call of a chat is no JSON object with a name")
    function = {"name": called["name"], "arguments": called.get("arguments", {})}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": function}],
        **weight,
    }


def _role(name: object) -> str:
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise ChatError("a message has a role that is none of system, user, assistant and tool")
    return role


def _text(content: object) -> str:
    """Return the text of a message; parts of text are one behind the other."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") if _is_text(part) else None for part in content]
        if all(isinstance(part, str) for part in parts):
            return "".join(map(str, parts))
    if not isinstance(content, str):
        raise ChatError("a message has a content that is no text")
    return content


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type", "text") == "text"


@dataclass
class _Order:
    """What may follow in a chat.

    Parameters
    ----------
    before
        The role of the message before; None at the beginning.
    calls
        The ids of tool calls without a result so far; None for one without an id.
    """

    before: str | None = None
    calls: list[object] = field(default_factory=list)

    def see(self, message: Message) -> None:
        role = message["role"]
        if self.calls and role != "tool":
            raise ChatError("a tool call in a chat has no result")
        getattr(self, f"_{role}")(message)
        called = _calls(message)
        if role == "assistant":
            self.calls = [call.get("id") for call in called]
        if not message["content"].strip() and not called:
            raise ChatError(f"a message of the role {role} is empty")
        self.before = role

    def _system(self, _message: Message) -> None:
        if self.before is not None:
            raise ChatError("the roles of a chat are out of order: system is not the first one")

    def _user(self, _message: Message) -> None:
        if self.before in _SPOKEN:
            raise ChatError(
                f"the roles of a chat are out of order: user follows {self.before}, without an "
                "answer of the assistant"
            )

    def _assistant(self, _message: Message) -> None:
        if self.before not in _SPOKEN:
            raise ChatError(
                "the roles of a chat are out of order: "
                + ("assistant follows assistant" if self.before == "assistant" else "no user asks")
            )

    def _tool(self, message: Message) -> None:
        if not self.calls:
            raise ChatError("a tool result in a chat has no call")
        named = message.get("tool_call_id")
        if named is None or None in self.calls:
            self.calls.pop(0)
        elif named in self.calls:
            self.calls.remove(named)
        else:
            raise ChatError("a tool result in a chat has no call")


def _calls(message: Message) -> Collection[dict[str, Any]]:
    if message["role"] != "assistant":
        return ()
    older = message.get(_CALL)  # of OpenAI before tools
    calls: list[dict[str, Any]] = message.get("tool_calls", [])
    return calls or ([older] if isinstance(older, dict) else [])


def _check(messages: list[Message], ending: Ending) -> None:
    if not messages:
        raise ChatError("a chat has no messages")
    order = _Order()
    for message in messages:
        order.see(message)
    if order.calls:
        raise ChatError("a tool call in a chat has no result")
    roles = [message["role"] for message in messages]
    if ending == "assistant" and "assistant" not in roles:
        raise ChatError("a chat has no turn of the assistant")
    last = roles[-1]
    if last == "system" or (ending == "assistant" and last != "assistant"):
        raise ChatError(f"a chat ends with {last}, which the assistant does not answer")
