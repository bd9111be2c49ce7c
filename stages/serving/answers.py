"""Answers as OpenAI's interface has them."""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from unlearn.stages.serving.batches import Finish
from unlearn.stages.serving.generation import Generation
from unlearn.stages.text.token_choice import Token

Kind = Literal["chat", "completion"]

#: What decoders write for bytes that are no whole character.
_HALF = "\ufffd"

#: The end of a stream.
DONE = b"data: [DONE]\n\n"


@dataclass
class Usage:
    """Numbers of tokens.

    Parameters
    ----------
    prompt, completion
        Tokens that were read, and that were generated.
    """

    prompt: int = 0
    completion: int = 0

    def as_json(self) -> dict[str, int]:
        """Return OpenAI's object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


@dataclass
class Answer:
    """The frame of an answer: its id, and what generated it.

    Parameters
    ----------
    kind
        Which interface it belongs to.
    generation, model
        What generates it, and what requests call that.
    alternatives
        Alternatives to each token; None if no probabilities are requested.
    has_usage
        Whether its stream ends with numbers of tokens.
    """

    kind: Kind
    generation: Generation
    model: str
    alternatives: int | None
    has_usage: bool = False
    _id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _created: int = field(default_factory=lambda: int(time.time()))
    _offsets: dict[int, int] = field(default_factory=dict)

    def whole(
        self, choices: Sequence[tuple[str, Sequence[Token], Finish]], usage: Usage
    ) -> dict[str, Any]:
        """Return the answer that is not a stream.

        Parameters
        ----------
        choices
            Text, tokens and end of each.
        usage
            The tokens of all of them.
        """
        found = []
        for index, (text, tokens, finish) in enumerate(choices):
            choice: dict[str, Any] = {"index": index}
            if self.kind == "chat":
                choice["message"] = {"role": "assistant", "content": text, "refusal": None}
            else:
                choice["text"] = text
            found.append(
                choice | {"logprobs": self._logprobs(index, tokens), "finish_reason": finish}
            )
        return self._frame(found) | {"usage": usage.as_json()}

    def opening(self, index: int) -> bytes | None:
        """Return the first event of a choice; None if it has none."""
        if self.kind != "chat":
            return None
        return self._event(index, {"role": "assistant", "content": ""}, [], None)

    def part(self, index: int, text: str, tokens: Sequence[Token]) -> bytes:
        """Return an event with a part of a choice."""
        return self._event(index, {"content": text} if self.kind == "chat" else text, tokens, None)

    def end(self, index: int, finish: Finish) -> bytes:
        """Return the last event of a choice."""
        return self._event(index, {} if self.kind == "chat" else "", [], finish)

    def usage(self, usage: Usage) -> bytes:
        """Return the event with the numbers of tokens."""
        return _event(self._frame([], is_part=True) | {"usage": usage.as_json()})

    def _event(
        self,
        index: int,
        content: dict[str, str] | str,
        tokens: Sequence[Token],
        finish: Finish | None,
    ) -> bytes:
        choice: dict[str, Any] = {
            "index": index,
            "delta" if self.kind == "chat" else "text": content,
            "logprobs": self._logprobs(index, tokens) if tokens else None,
            "finish_reason": finish,
        }
        frame = self._frame([choice], is_part=True)
        return _event(frame | {"usage": None} if self.has_usage else frame)

    def _frame(self, choices: list[dict[str, Any]], *, is_part: bool = False) -> dict[str, Any]:
        if self.kind == "chat":
            prefix, name = "chatcmpl-", "chat.completion"
        else:
            prefix, name = "cmpl-", "text_completion"
        return {
            "id": prefix + self._id,
            "object": f"{name}.chunk" if is_part and self.kind == "chat" else name,
            "created": self._created,
            "model": self.model,
            "system_fingerprint": self.generation.fingerprint,
            "choices": choices,
        }

    def _logprobs(self, index: int, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self.alternatives is None:
            return None
        if self.kind == "chat":
            content = [
                self._token(token.id, token.logprob)
                | {"top_logprobs": [self._token(*other) for other in token.alternatives]}
                for token in tokens
            ]
            return {"content": content, "refusal": None}
        texts = [self._text(token.id) for token in tokens]
        offsets = []
        for text in texts:
            offsets.append(self._offsets.setdefault(index, 0))
            self._offsets[index] += len(text)
        return {
            "tokens": texts,
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [
                {self._text(other): logprob for other, logprob in token.alternatives}
                for token in tokens
            ],
            "text_offset": offsets,
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._text(token)
        # A part of a character has bytes of its own, which tokenizers do not give.
        parts = None if _HALF in text else list(text.encode())
        return {"token": text, "logprob": logprob, "bytes": parts}

    def _text(self, token: int) -> str:
        return self.generation.token_text(token)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + dumped(value) + b"\n\n"


def error_event(value: dict[str, Any]) -> bytes:
    """Return the event of an error within a stream."""
    return _event(value)


def dumped(value: dict[str, Any]) -> bytes:
    """Return JSON as bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
