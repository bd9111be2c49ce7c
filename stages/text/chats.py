"""Chats by the template of a tokenizer, and which of their characters the assistant says.

A template says nothing about where a turn begins and ends, unless it has `{% generation %}` marks,
and most have none. So the beginnings of a chat are rendered as well: what a template writes for the
messages before a turn, with the prompt for an answer, is where the turn begins; what it writes for
all messages up to the turn is where it ends. Both must stand at the beginning of the whole chat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from unlearn.stages.rows.chat_tools import TOOLS
from unlearn.stages.rows.chats import WEIGHT, ChatError, Message, counts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Before a template that asks for the date: a row's tokens must not change from day to day.
_NO_CLOCK = "{% macro strftime_now(format) %}1 January 2025{% endmacro %}"

#: Two answers that differ in all characters: what a template writes before both is no part of them.
_ONE, _OTHER = "0", "1"

#: Keys of messages that are not for the template: it gets definitions of tools apart from messages.
_APART = (WEIGHT, TOOLS)

_REFUSED = "the tokenizer's chat template does not take a chat"
_CHANGED = (
    "the tokenizer's chat template writes earlier messages of a chat otherwise when later ones "
    "follow, so that the turns of the assistant cannot be found"
)


@dataclass(frozen=True)
class RenderedChat:
    """A chat as its template writes it.

    Parameters
    ----------
    text
        The whole chat.
    turns
        Of each turn of the assistant that counts, the first character, and the one after its last.
        The mark that ends a turn is part of it; spaces and line ends behind a mark are not.
    """

    text: str
    turns: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ChatTemplate:
    """The chat template of a tokenizer.

    Parameters
    ----------
    tokenizer
        One that has a template.
    """

    tokenizer: "PreTrainedTokenizerBase"

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """Return the text of messages.

        Raises
        ------
        ChatError
            If the template does not take them.
        """
        tools = messages[0].get(TOOLS) if messages else None
        if any(TOOLS in each for each in messages[1:]):
            raise ChatError("tools of a chat are in another message than its first one")
        text = self._rendered(messages, tools, add_generation_prompt=add_generation_prompt)
        if tools and text == self._rendered(
            messages, None, add_generation_prompt=add_generation_prompt
        ):
            raise ChatError("the tokenizer's chat template writes no definitions of tools")
        return text

    def _rendered(
        self, messages: Sequence[Message], tools: Any, *, add_generation_prompt: bool
    ) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [{key: each[key] for key in each if key not in _APART} for each in messages],
                    tools=tools or None,
                    chat_template=self._template,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                )
            )
        except (
            TemplateError,
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ):
            # Its words may quote a row.
            raise ChatError(_REFUSED) from None

    @cached_property
    def _template(self) -> str:
        template = str(self.tokenizer.get_chat_template())
        return _NO_CLOCK + template if "strftime_now" in template else template

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text that an answer to messages continues.

        Raises
        ------
        ChatError
            If the template does not take the messages.
        """
        if self._has_prompt:
            return self.render(messages, add_generation_prompt=True)
        return self._before_an_answer(messages)

    def _before_an_answer(self, messages: Sequence[Message]) -> str:
        """Return what a template without a generation prompt writes before an answer."""
        head = self.render(messages)
        one, other = (
            self.render([*messages, {"role": "assistant", "content": text}])
            for text in (_ONE, _OTHER)
        )
        header = _common_beginning(one, other)
        # A space alone is what a model says first: prompts end before it.
        if header.startswith(head) and not header[len(head) :].strip():
            return head
        return header

    @cached_property
    def _has_prompt(self) -> bool:
        question = [{"role": "user", "content": _ONE}]
        return self.render(question, add_generation_prompt=True) != self.render(question)

    def turns(self, messages: Sequence[Message]) -> RenderedChat:
        """Return a chat with the places of the assistant's turns.

        Raises
        ------
        ChatError
            If the template does not take the chat, or the turns cannot be found.
        """
        text = self.render(messages)
        places = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
        starts = [self._start(text, messages[:at]) for at in places]
        bounds = [*starts[1:], len(text)]
        found = []
        for at, start, bound in zip(places, starts, bounds, strict=True):
            end = self._end(text, messages[: at + 1], start, bound)
            if counts(messages[at]):
                found.append((start, end))
        return RenderedChat(text, tuple(found))

    def _start(self, text: str, before: Sequence[Message]) -> int:
        head = self.prompt(before)
        if not text.startswith(head):
            # A prompt can have more than a turn begins with, such as the mark of a reasoning.
            head = self._before_an_answer(before)
        if not text.startswith(head):
            raise ChatError(_CHANGED)
        return len(head)

    def _end(self, text: str, messages: Sequence[Message], start: int, bound: int) -> int:
        whole = text if bound == len(text) else self.render(messages)
        if text.startswith(whole) and len(whole) <= start:
            raise ChatError("the tokenizer's chat template leaves out a turn of the assistant")
        if text.startswith(whole) and len(whole) <= bound:
            said = whole.rstrip()
            return len(said) if said.endswith(self._marks) else len(whole)
        # Written otherwise where nothing follows: the turn ends at its mark, which no text spells.
        mark = self._end_mark
        place = text.find(mark, start) if mark else -1
        if place < 0 or place + len(mark) > bound:
            raise ChatError(_CHANGED)
        return place + len(mark)

    @cached_property
    def _marks(self) -> tuple[str, ...]:
        return tuple(filter(None, self.tokenizer.all_special_tokens))

    @cached_property
    def _end_mark(self) -> str:
        """The special token behind an answer; empty where there is none."""
        said = "answer"
        messages = [{"role": "user", "content": _ONE}, {"role": "assistant", "content": said}]
        behind = self.render(messages).rpartition(said)[2].lstrip()
        fitting = [mark for mark in self._marks if behind.startswith(mark)]
        return max(fitting, key=len, default="")

    def spells_a_mark(self, message: Message) -> bool:
        """Return whether a text of a message could end its own turn, or speak for another one."""
        return any(mark in text for text in _texts(message) for mark in self._marks)


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in (*value, *value.values()) for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []


def _common_beginning(one: str, other: str) -> str:
    length = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return one[:length]
