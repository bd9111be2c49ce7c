"""Text as it is generated: whole characters only, and nothing of a stop string."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: What decoders write for bytes that are no whole character yet.
_HALF = "\ufffd"


class TextStream:
    """Turns tokens into text, as far as later tokens can no longer change it.

    All that `push` and `finish` return is the text of all tokens, up to the first stop string.

    Parameters
    ----------
    tokenizer
        The model's.
    stops
        Texts that end the stream; they are not part of it.

    Attributes
    ----------
    stopped : bool
        Whether a stop string was found. Later tokens add nothing.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", stops: Sequence[str] = ()) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stops = [stop for stop in stops if stop]
        self._tokens: list[int] = []
        self._given = 0

    def push(self, token: int) -> str:
        """Take the next token; return the text that is new."""
        if self.stopped:
            return ""
        self._tokens.append(token)
        text = self._text()
        if (end := self._stop_in(text)) is not None:
            return self._end_at(text, end)
        return self._give(text, len(text.rstrip(_HALF)) - self._held_back(text.rstrip(_HALF)))

    def finish(self) -> str:
        """Return the text that was held back; there are no more tokens."""
        if self.stopped:
            return ""
        text = self._text()
        return self._give(text, len(text))

    def _text(self) -> str:
        # From the first token on: what a token's text is can depend on those before it.
        return str(self._tokenizer.decode(self._tokens, skip_special_tokens=True))

    def _stop_in(self, text: str) -> int | None:
        places = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        return min(places, default=None)

    def _end_at(self, text: str, end: int) -> str:
        self.stopped = True
        return self._give(text, end)

    def _give(self, text: str, end: int) -> str:
        start, self._given = self._given, max(self._given, end)
        return text[start : self._given]

    def _held_back(self, text: str) -> int:
        """Return how long the end of a text is that may be the beginning of a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0
