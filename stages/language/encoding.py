"""Rows of text as token sequences.

A row that is one prompt with its completion is one sequence; the loss counts the completion alone.
A body is cut into pieces of the context's length, each of which begins with the last token of the
one before, so that every token but the first is predicted exactly once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from unlearn.stages.errors import InputError
from unlearn.stages.language.sequences import Sequences, ragged
from unlearn.stages.language_params import LanguageOptions
from unlearn.stages.shard_file import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
            a perturbed answer. Every row must have text there.

        Raises
        ------
        InputError
            If rows are longer than the context and `too_long` is `refuse`; they are counted.
        """
        body = self.layout.column("body")
        if body is not None:
            return self._bodies(rows[body].to_pylist())
        completion = column or self.layout.column("completion")
        answers = [text or "" for text in rows[str(completion)].to_pylist()]
        return self.encode_answers(rows, answers)

    def encode_answers(self, rows: pa.Table, answers: Sequence[str]) -> Encoded:
        """Encode rows' prompts with other answers than their own, one for each row.

        Raises
        ------
        InputError
            If the rows are bodies, which have no prompts; or as `encode` does.
        """
        if self.layout.column("prompt") is None:
            raise InputError("rows of running text have no prompt to answer")
        prompts, tails = self._texts(rows, answers)
        return self._pairs(self._tokens(prompts), self._tokens(tails))

    def prompts(self, rows: pa.Table) -> list[list[int]]:
        """Return the tokens that a generation goes on from: prompts, or starts of bodies alone.

        None is empty: where nothing else starts a text, the end of another one does.
        """
        prompt = self.layout.column("prompt")
        if prompt is None:
            return [self._start or [self._end] for _ in range(rows.num_rows)]
        texts = [self._prompt(text or "") for text in rows[prompt].to_pylist()]
        head = [] if self._has_template else self._start
        room = self.options.context - 1
        return [(head + tokens)[-room:] or [self._end] for tokens in self._tokens(texts)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return str(text)

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return self._end

    @property
    def _has_template(self) -> bool:
        return self.options.chat and bool(getattr(self.tokenizer, "chat_template", None))

    def _texts(self, rows: pa.Table, answers: Sequence[str]) -> tuple[list[str], list[str]]:
        prompts = [text or "" for text in rows[str(self.layout.column("prompt"))].to_pylist()]
        if not self._has_template:
            return [self._prompt(text) for text in prompts], list(answers)
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

    def _prompt(self, text: str) -> str:
        if not self._has_template:
            return text + self.options.separator
        return self._rendered([{"role": "user", "content": text}], add_generation_prompt=True)

    def _rendered(self, messages: list[dict[str, str]], **more: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **more))
        except TemplateError:
            # Its words may quote a row.
            raise InputError(
                "the tokenizer's chat template does not take a prompt with its answer",
                "set train.options.chat: false",
            ) from None

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        found = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [[int(token) for token in tokens] for tokens in found]

    def _pairs(self, prompts: list[list[int]], answers: list[list[int]]) -> Encoded:
        # A template writes its own marks of start and end.
        head, tail = ([], []) if self._has_template else (self._start, [self._end])
        context, parts, starts = self.options.context, [], []
        too_long = 0
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
            parts.append(first + second)
            starts.append(len(first))
        if too_long and self.options.too_long == "refuse":
            rows = "1 row is" if too_long == 1 else f"{too_long:,} rows are"
            raise InputError(
                f"{rows} longer than the context of {context} tokens",
                "set train.options.too_long: truncate, or a larger context",
            )
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
