"""Rows of text as token sequences.

A row that is one prompt with its completion is one sequence; the loss counts the completion alone.
A body is cut into pieces of the context's length, each of which begins with the last token of the
one before, so that every token but the first is predicted exactly once. A chat is one sequence; the
loss counts the turns of the assistant. No sequence has text of two rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from unlearn.stages.config.text import LanguageOptions
from unlearn.stages.errors import InputError
from unlearn.stages.rows.chat_tools import with_tools
from unlearn.stages.rows.chats import ChatError, Message, messages_of
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text.chat_encoding import ChatEncoder, Turns
from unlearn.stages.text.chats import ChatTemplate
from unlearn.stages.text.sequences import Sequences, ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TooLong = Literal["refuse", "truncate"]


@dataclass(frozen=True)
class Encoded:
    """Rows as sequences.

    Parameters
    ----------
    sequences
        In the order of the rows.
    truncated
        How many rows lost tokens because they were longer than the context.
    """

    sequences: Sequences
    truncated: int


@dataclass(frozen=True)
class Encoder:
    """Turns rows of a layout into sequences.

    Parameters
    ----------
    tokenizer
        The base's.
    options
        Context, chat template, and what happens to rows that are too long.
    layout
        Says which columns are what.
    """

    tokenizer: "PreTrainedTokenizerBase"
    options: LanguageOptions
    layout: Layout

    @property
    def pad(self) -> int:
        """A token to fill up with; which one makes no difference."""
        found = self.tokenizer.pad_token_id
        return int(self._end if found is None else found)

    @property
    def _end(self) -> int:
        end = self.tokenizer.eos_token_id
        if end is None:
            raise InputError("the base's tokenizer has no token for the end of a text")
        return int(end)

    @property
    def _start(self) -> list[int]:
        start = self.tokenizer.bos_token_id
        return [] if start is None else [int(start)]

    def encode(self, rows: pa.Table, column: str | None = None) -> Encoded:
        """Encode rows for training or scoring.

        Parameters
        ----------
        rows
            A table of the layout.
        column
            Which column is the completion, where it is not the one of that role: a paraphrase, or
            a perturbed answer. Every row must have text there. Of chats it is `answer_column`: the
            loss then counts the last answer alone.

        Raises
        ------
        InputError
            If rows are longer than the context and `too_long` is `refuse`; they are counted.
        """
        body, chats = self.layout.column("body"), self.layout.column("messages")
        if body is not None:
            return self._bodies(rows[body].to_pylist())
        if chats is not None:
            turns: Turns = (self.options.turns or "all") if column is None else "last"
            return self._chats(self._messages(rows), turns, self.options.too_long)
        own = self.layout.column("completion")
        answers = [text or "" for text in rows[str(column or own)].to_pylist()]
        if column in (None, own):
            return self._answered(rows, answers, self.options.too_long)
        return self.encode_answers(rows, answers)

    def encode_answers(self, rows: pa.Table, answers: Sequence[str]) -> Encoded:
        """Encode rows' prompts with other answers than their own, one for each row.

        Of a chat, the last turn of the assistant is replaced. Nothing is tuned on them, so that
        ones which are too long are truncated, never refused.

        Raises
        ------
        InputError
            If the rows are bodies, which have no prompts.
        """
        if self.answer_column is None:
            return self._answered(rows, answers, "truncate")
        chats = [
            [*chat[:-1], {"role": "assistant", "content": answer}]
            for chat, answer in zip(self._messages(rows), answers, strict=True)
        ]
        return self._chats(chats, "last", "truncate")

    @property
    def answer_column(self) -> str | None:
        """The column of chats, whose last turn is an answer to all before; None for other rows."""
        return self.layout.column("messages")

    def prompt_of(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens that an answer to a chat continues.

        Parameters
        ----------
        messages
            Each with `role` and `content`, and what else the template reads.

        Raises
        ------
        InputError
            If there is no chat template, it does not take these messages, or they spell one of its
            control tokens.
        """
        if not self._has_template:
            raise InputError(
                "the model answers no chats: "
                + (
                    "its tokenizer has no chat template"
                    if self.options.chat
                    else "train.options.chat is false"
                )
            )
        try:
            return self._chat_encoder.prompt(messages_of(list(messages)))
        except ChatError as error:
            raise InputError(str(error)) from None

    def problems(self, rows: pa.Table) -> list[tuple[int, str]]:
        """Return which rows cannot be encoded as chats, and why; none for rows that are no chats.

        Returns
        -------
        list of (int, str)
            The number of each such row, from 0, and what is wrong with it, without a quotation.
        """
        if self.answer_column is None:
            return []
        self.require_template()
        return self._chat_encoder.problems(
            self._messages(rows), self.options.turns or "all", self.options.too_long
        )

    @cached_property
    def _chat_encoder(self) -> ChatEncoder:
        return ChatEncoder(ChatTemplate(self.tokenizer), self.options.context)

    def require_template(self) -> None:
        """Raise an InputError if chats cannot be encoded: there is no template to use."""
        if not self.options.chat:
            raise InputError("train.options.chat: is false, and rows are chats")
        if not self._has_template:
            raise InputError(
                "the base's tokenizer has no chat template, which chats need",
                "take a base for chats, or save a template in its folder as chat_template.jinja: "
                "the template that the base's makers publish",
            )

    def _messages(self, rows: pa.Table) -> list[list[Message]]:
        chats = [json.loads(text) for text in rows[str(self.answer_column)].to_pylist()]
        tools = self.layout.column("tools")
        if tools is None or tools not in rows.column_names:
            return chats
        beside = rows[tools].to_pylist()
        return [with_tools(chat, text) for chat, text in zip(chats, beside, strict=True)]

    def _chats(self, chats: Sequence[list[Message]], turns: Turns, too_long: TooLong) -> Encoded:
        self.require_template()
        found = self._chat_encoder.encode(chats, turns, too_long)
        return Encoded(found.sequences, found.truncated)

    def _answered(self, rows: pa.Table, answers: Sequence[str], too_long: TooLong) -> Encoded:
        if self.layout.column("prompt") is None:
            raise InputError("rows of running text have no prompt to answer")
        prompts, tails = self._texts(rows, answers)
        return self._pairs(self._tokens(prompts), self._tokens(tails), too_long)

    def prompts(self, rows: pa.Table) -> list[list[int]]:
        """Return the tokens that a generation continues: prompts, or the starts of bodies.

        None is empty: where nothing else starts a text, the end of another one does.

        Raises
        ------
        InputError
            If prompts leave no room for an answer, and `too_long` is `refuse`; they are counted.
        """
        if not self.layout.has_prompts:
            return [self._start or [self._end] for _ in range(rows.num_rows)]
        room = self.options.context - 1
        if self.answer_column is None:
            texts = [self._prompt(text) for text in self._questions(rows)]
            head = [] if self._has_template else self._start
            found = [head + tokens for tokens in self._tokens(texts)]
        else:
            found = [self._prompt_of_chat(chat) for chat in self._messages(rows)]
        if self.options.too_long == "refuse":
            self._refuse("prompt", sum(len(tokens) > room for tokens in found))
        return [tokens[-room:] or [self._end] for tokens in found]

    def beginning(self, text: str) -> list[int]:
        """Return the tokens of a text that a generation continues as it stands, without a template.

        The text is a person's: control tokens that it spells are text.
        """
        (found,) = self.tokenizer(
            [text], add_special_tokens=False, verbose=False, split_special_tokens=True
        )["input_ids"]
        return [*self._start, *map(int, found)] or [self._end]

    def _prompt_of_chat(self, chat: list[Message]) -> list[int]:
        return self.prompt_of(chat[:-1] if chat[-1]["role"] == "assistant" else chat)

    def _questions(self, rows: pa.Table) -> list[str]:
        """Return the text of each prompt: that of the prompt's column, and of the input's."""
        prompts = [text or "" for text in rows[str(self.layout.column("prompt"))].to_pylist()]
        more = self.layout.column("input")
        if more is None or more not in rows.column_names:
            return prompts
        return [
            f"{prompt}\n\n{text}" if text and text.strip() else prompt
            for prompt, text in zip(prompts, rows[more].to_pylist(), strict=True)
        ]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return str(text)

    @property
    def end(self) -> int:
        """The token that ends an answer: what a template puts behind one, else a text's end."""
        if not self._has_template:
            return self._end
        said = "answer"
        _, (tail,) = self._texts_in_turns([""], [said])
        (behind,) = self._tokens([tail.partition(said)[2]])
        is_mark = behind and behind[0] in self.tokenizer.all_special_ids
        return behind[0] if is_mark else self._end

    @property
    def _has_template(self) -> bool:
        return self.options.chat and bool(getattr(self.tokenizer, "chat_template", None))

    def _texts(self, rows: pa.Table, answers: Sequence[str]) -> tuple[list[str], list[str]]:
        prompts = self._questions(rows)
        if not self._has_template:
            return [self._prompt(text) for text in prompts], list(answers)
        self._refuse_marks([*prompts, *answers])
        return self._texts_in_turns(prompts, answers)

    def _texts_in_turns(
        self, prompts: Sequence[str], answers: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        heads, tails = [], []
        for prompt, answer in zip(prompts, answers, strict=True):
            head = self._prompt(prompt)
            whole = self._rendered(
                [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
            )
            if not whole.startswith(head):
                raise InputError(
                    "the tokenizer's chat template does not put an answer right behind its prompt",
                    "set train.options.chat: false",
                )
            heads.append(head)
            tails.append(whole.removeprefix(head))
        return heads, tails

    def _refuse_marks(self, texts: Sequence[str]) -> None:
        """Raise an InputError if a person's text could end its own turn, or speak for another."""
        marks = self.tokenizer.all_special_tokens
        count = sum(any(mark in text for mark in marks) for text in texts)
        if count:
            said = "1 text spells" if count == 1 else f"{count:,} texts spell"
            raise InputError(
                f"{said} a control token of the base's chat template",
                "remove them, or set train.options.chat: false",
            )

    def _prompt(self, text: str) -> str:
        if not self._has_template:
            return text + self.options.separator
        return self._rendered([{"role": "user", "content": text}], prompted=True)

    def _refuse(self, what: str, count: int) -> None:
        if count == 0:
            return
        said = f"1 {what} is" if count == 1 else f"{count:,} {what}s are"
        raise InputError(
            f"{said} longer than the context of {self.options.context} tokens",
            "set train.options.too_long: truncate, or a larger context",
        )

    def _rendered(self, messages: list[dict[str, Any]], *, prompted: bool = False) -> str:
        try:
            return self._chat_encoder.template.render(messages, add_generation_prompt=prompted)
        except ChatError:
            raise InputError(
                "the tokenizer's chat template does not take a prompt with its answer",
                "set train.options.chat: false",
            ) from None

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        # Without a template only the encoder writes control tokens: a person's text that spells one
        # is text. With a template the two cannot be distinguished, and such texts are refused
        # before.
        found = self.tokenizer(
            texts,
            add_special_tokens=False,
            verbose=False,
            split_special_tokens=not self._has_template,
        )["input_ids"]
        return [[int(token) for token in tokens] for tokens in found]

    def _pairs(
        self, prompts: list[list[int]], answers: list[list[int]], refused: TooLong
    ) -> Encoded:
        # A template writes its own marks of start and end.
        head, tail = ([], []) if self._has_template else (self._start, [self._end])
        context, parts, starts = self.options.context, [], []
        too_long = silent = 0
        for prompt, answer in zip(prompts, answers, strict=True):
            first, second = head + prompt, answer + tail
            if len(first) + len(second) > context:
                too_long += 1
                # The answer keeps its beginning, in half of the context at least; the prompt its
                # end, which is nearest to the answer.
                second = second[: max(context - len(first), context // 2)]
                first = first[-(context - len(second)) :]
            if not first:
                # Nothing predicts the first token of all.
                first, second = second[:1], second[1:]
            silent += not second
            parts.append(first + second)
            starts.append(len(first))
        if silent:
            rows = "1 row has" if silent == 1 else f"{silent:,} rows have"
            raise InputError(f"{rows} an answer without any token")
        if refused == "refuse":
            self._refuse("row", too_long)
        return Encoded(ragged(parts, starts, list(range(len(parts)))), too_long)

    def _bodies(self, texts: list[str]) -> Encoded:
        parts, rows = [], []
        step = self.options.context - 1
        for row, tokens in enumerate(self._tokens(texts)):
            whole = [*self._start, *tokens, self._end]
            for start in range(0, max(1, len(whole) - 1), step):
                parts.append(whole[start : start + self.options.context])
                rows.append(row)
        return Encoded(ragged(parts, [1] * len(parts), rows), 0)
