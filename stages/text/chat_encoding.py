"""Chats as token sequences of which the loss counts the assistant's turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from unlearn.stages.errors import InputError
from unlearn.stages.rows.chats import TOO_LONG, ChatError, Message, hint_for
from unlearn.stages.text.chats import ChatTemplate, RenderedChat
from unlearn.stages.text.sequences import Bools, Sequences, ragged

#: Which turns of the assistant the loss counts.
Turns = Literal["all", "last"]

#: Chats whose tokens and places are in memory at a time.
_AT_ONCE = 256


@dataclass(frozen=True)
class EncodedChats:
    """Chats as sequences, and how many lost tokens because they were longer than the context."""

    sequences: Sequences
    truncated: int


@dataclass(frozen=True)
class _Tokens:
    """A chat's tokens, which of them count, and whether some were cut off."""

    tokens: list[int]
    counts: Bools
    is_cut: bool


@dataclass(frozen=True)
class ChatEncoder:
    """Turns chats into sequences.

    Parameters
    ----------
    template
        The tokenizer's.
    context
        Tokens that a sequence may have.
    """

    template: ChatTemplate
    context: int

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens that an answer to messages continues.

        Raises
        ------
        ChatError
            If the template does not take the messages, or they spell a control token.
        """
        self._refuse_marks(messages)
        found = self.template.tokenizer(
            self.template.prompt(messages), add_special_tokens=False, verbose=False
        )["input_ids"]
        return [int(token) for token in found]

    def encode(
        self,
        chats: Sequence[Sequence[Message]],
        turns: Turns,
        too_long: Literal["refuse", "truncate"],
    ) -> EncodedChats:
        """Return chats as sequences, one of each.

        Parameters
        ----------
        chats
            Each has a turn of the assistant.
        turns
            Which of the turns count.
        too_long
            What happens to chats that are longer than the context. Those with several answers are
            cut at the end. Those with one, or whose first one begins after the context, keep the
            end of what is before the answer, and the answer's beginning, which has half of the
            context at least.

        Raises
        ------
        InputError
            If there are chats that cannot be encoded; they are counted.
        """
        found: list[_Tokens] = []
        problems: list[str] = []
        for each in self._each(chats, turns, too_long):
            if isinstance(each, _Tokens):
                found.append(each)
            else:
                problems.append(each)
        if problems:
            rows = "1 row has" if len(problems) == 1 else f"{len(problems):,} rows have"
            raise InputError(
                f"{rows} a chat that cannot be read; of the first one: {problems[0]}",
                hint_for(problems[0]),
            )
        starts = [int(np.flatnonzero(each.counts)[0]) for each in found]
        plain = all(each.counts[at:].all() for each, at in zip(found, starts, strict=True))
        return EncodedChats(
            ragged(
                [each.tokens for each in found],
                starts,
                list(range(len(found))),
                None if plain else [each.counts for each in found],
            ),
            sum(each.is_cut for each in found),
        )

    def problems(
        self,
        chats: Sequence[Sequence[Message]],
        turns: Turns,
        too_long: Literal["refuse", "truncate"],
    ) -> list[tuple[int, str]]:
        """Return the numbers of the chats that `encode` would refuse, and why."""
        return [
            (number, each)
            for number, each in enumerate(self._each(chats, turns, too_long))
            if isinstance(each, str)
        ]

    def _each(
        self,
        chats: Sequence[Sequence[Message]],
        turns: Turns,
        too_long: Literal["refuse", "truncate"],
    ) -> Iterator[_Tokens | str]:
        """Yield the tokens of each chat, or what is wrong with it."""
        for start in range(0, len(chats), _AT_ONCE):
            rendered = [self._rendered(chat) for chat in chats[start : start + _AT_ONCE]]
            there = [each for each in rendered if isinstance(each, RenderedChat)]
            tokens = iter(self._tokens([each.text for each in there]))
            for each in rendered:
                if isinstance(each, str):
                    yield each
                    continue
                try:
                    yield self._fitted(*_counted(*next(tokens), each, turns), too_long)
                except ChatError as error:
                    yield str(error)

    def _rendered(self, chat: Sequence[Message]) -> RenderedChat | str:
        try:
            self._refuse_marks(chat)
            return self.template.turns(chat)
        except ChatError as error:
            return str(error)

    def _refuse_marks(self, chat: Sequence[Message]) -> None:
        if any(self.template.spells_a_mark(message) for message in chat):
            raise ChatError("a text of a chat spells a control token of the base's chat template")

    def _tokens(self, texts: list[str]) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
        """Yield the tokens of each text, and the characters that each token is."""
        tokenizer = self.template.tokenizer
        if not tokenizer.is_fast:
            raise InputError(
                "the base's tokenizer does not say which characters its tokens are, which chats "
                "need",
                "take a base with a tokenizer.json",
            )
        if not texts:
            return
        found = tokenizer(
            texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        yield from zip(found["input_ids"], found["offset_mapping"], strict=True)

    def _fitted(
        self, tokens: list[int], counts: Bools, too_long: Literal["refuse", "truncate"]
    ) -> _Tokens:
        if not counts.any():
            raise ChatError("a turn of the assistant has no token")
        if len(tokens) <= self.context:
            return _Tokens(tokens, counts, is_cut=False)
        if too_long == "refuse":
            raise ChatError(f"{TOO_LONG} {self.context} tokens")
        first = int(np.flatnonzero(counts)[0])
        if counts[: self.context].any() and not counts[first:].all():
            kept = slice(0, self.context)
        else:
            # As of a prompt with its completion.
            behind = min(len(tokens) - first, max(self.context - first, self.context // 2))
            kept = slice(first + behind - self.context, first + behind)
        last = int(np.flatnonzero(counts[kept])[-1]) + 1
        return _Tokens(tokens[kept][:last], counts[kept][:last], is_cut=True)


def _counted(
    tokens: list[int], places: list[tuple[int, int]], chat: RenderedChat, turns: Turns
) -> tuple[list[int], Bools]:
    """Return the tokens up to the last one that counts, and which of them do.

    Those do that have a character of a turn, as in `return_assistant_tokens_mask` of transformers.
    """
    ends = np.array(places, dtype=np.int64).reshape(-1, 2)
    counts = np.zeros(len(tokens), dtype=bool)
    for start, end in chat.turns if turns == "all" else chat.turns[-1:]:
        counts |= (ends[:, 1] > start) & (ends[:, 0] < end)
    counts[:1] = False  # nothing predicts a first token
    last = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    return [int(token) for token in tokens[:last]], counts[:last]
