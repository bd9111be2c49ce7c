"""A generation of the final model: what answers requests until another one takes its place."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from unlearn.stages.errors import InputError
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble, route_of
from unlearn.stages.final_model.text_loading import load_language_model
from unlearn.stages.project.paths import Project
from unlearn.stages.serving.gate import Admitted, admit, check_unchanged
from unlearn.stages.serving.openai_errors import ApiError, too_long
from unlearn.stages.text.decoding import Decoder
from unlearn.stages.text.encoding import Encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Generation:
    """A model that was verified and loaded.

    Parameters
    ----------
    admitted
        What was verified.
    model
        The model.
    loaded
        When it was loaded (seconds since 1970).
    """

    admitted: Admitted
    model: LanguageEnsemble = field(repr=False)
    loaded: int = field(default_factory=lambda: int(time.time()))

    @property
    def name(self) -> str:
        """The generation's name."""
        return self.admitted.generation

    @property
    def fingerprint(self) -> str:
        """OpenAI's `system_fingerprint`."""
        return f"fp_{self.name}"

    @cached_property
    def encoder(self) -> Encoder:
        """Turns requests into tokens. Its tokenizer is its own: one serves one thread."""
        encoder = self.model.encoder
        return replace(encoder, tokenizer=copy.deepcopy(encoder.tokenizer))

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Turns tokens into text, in the thread that decodes."""
        return self.model.encoder.tokenizer

    @property
    def context(self) -> int:
        """Tokens that the model reads at most."""
        return self.encoder.options.context

    @cached_property
    def vocabulary(self) -> int:
        """How many tokens the model knows."""
        return len(self.tokenizer)

    @cached_property
    def _longest(self) -> int:
        """Characters of the longest token."""
        return max(map(len, self.tokenizer.get_vocab()))

    @cached_property
    def _speller(self) -> "PreTrainedTokenizerBase":
        return copy.deepcopy(self.model.encoder.tokenizer)

    @cached_property
    def _spelled(self) -> dict[int, str]:
        return {}

    def token_text(self, token: int) -> str:
        """Return the text of a token by itself; for the thread of the event loop."""
        found = self._spelled.get(token)
        if found is None:
            found = self._spelled[token] = str(self._speller.decode([token]))
        return found

    def new_decoder(self, slots: int) -> Decoder:
        """Return a decoder of the model."""
        return Decoder(self.model, slots)

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the tokens of a chat, up to where its answer begins.

        Raises
        ------
        ApiError
            If the chat template does not take the messages, or they are too long.
        """
        self._refuse_long(sum(len(str(message["content"])) for message in messages))
        try:
            return self.encoder.prompt_of([dict(message) for message in messages])
        except InputError as error:
            raise ApiError(400, error.message, param="messages") from None

    def completion(self, prompt: str | list[int]) -> list[int]:
        """Return the tokens of a prompt: as the model's tokenizer starts a text, and the text.

        A text that spells a control token is text.

        Raises
        ------
        ApiError
            If it is too long, or is of tokens that there are not.
        """
        if isinstance(prompt, list):
            if not prompt:
                raise ApiError(400, "prompt has no tokens", param="prompt")
            if not all(0 <= token < self.vocabulary for token in prompt):
                raise ApiError(
                    400,
                    f"prompt has a token that is not one of {self.vocabulary:,}",
                    param="prompt",
                )
            return prompt
        self._refuse_long(len(prompt))
        return self.encoder.beginning(prompt)

    def route(self, topic: str | None) -> int:
        """Return the adapter that answers, where there are several and the rule is `route`; else 0.

        Raises
        ------
        ApiError
            If the rule needs a topic and there is none.
        """
        if not self.model.decoded.routed:
            return 0
        if topic is None:
            raise ApiError(
                400,
                'this model chooses an adapter by topic: metadata: {"topic": ...}',
                param="metadata",
            )
        return route_of(topic, len(self.model.members))

    def _refuse_long(self, characters: int) -> None:
        """Refuse a text that no tokenizer makes short enough, before it takes time."""
        least = characters // self._longest
        if least >= self.context:
            raise too_long(self.context, least)


def load_generation(
    project: Project, *, base: str | None = None, allow_inconclusive: bool = False
) -> Generation:
    """Verify the final model of a project, and load it.

    Parameters
    ----------
    project
        The project.
    base
        Where the base is, if not where params.yaml says.
    allow_inconclusive
        See `admit`.

    Raises
    ------
    InputError
        If it may not be served, cannot be loaded, or was changed in the meantime.
    """
    admitted = admit(project, allow_inconclusive=allow_inconclusive)
    model = load_language_model(project.final_model, project.root, base=base)
    check_unchanged(project, admitted)
    return Generation(admitted, model)
