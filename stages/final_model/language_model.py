"""A final model of text in Python: generation, probabilities and perplexities."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble, route_of
from unlearn.stages.final_model.text_loading import load_language_model
from unlearn.stages.rows.chats import ChatError, Message, chat_text, parse_chat
from unlearn.stages.text.decoding import Decoder, Request
from unlearn.stages.text.streaming import TextStream
from unlearn.stages.text.token_choice import Sampling

Floats = npt.NDArray[np.float64]

#: A prompt: text, or the messages of a chat.
Prompt = str | Sequence[Message]

#: Tokens of an answer at most, unless another number is asked for.
_MOST = 256

#: Prompts that are continued at the same time.
_BATCH = 16


class LanguageModel:
    """A language model that generates text, and says how probable texts are.

    All adapters of the final model answer together, by the rule that it was made with.

    Parameters
    ----------
    ensemble
        The final model's adapters.

    Attributes
    ----------
    ensemble : LanguageEnsemble
        The model that answers tables of rows.
    """

    def __init__(self, ensemble: LanguageEnsemble) -> None:
        self.ensemble = ensemble

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling | None = None,
        *,
        stop: Sequence[str] = (),
        topics: Sequence[str] | None = None,
        batch: int = _BATCH,
    ) -> list[str]:
        """Return the answer to each prompt.

        Parameters
        ----------
        prompts
            In a project with a column of prompts: texts that are asked as rows are. In a project of
            chats: lists of messages, or texts, each of which is what a user says. In a project of
            running text: texts to go on with.
        sampling
            The number of tokens, and how they are drawn; by default the most probable token each
            time, at most 256. With a seed, the prompt at place n is drawn with seed + n.
        stop
            Texts that end an answer. They are not part of it.
        topics
            The topic of each prompt, if the final model chooses an adapter by topic.
        batch
            Number of prompts that are continued at the same time.

        Raises
        ------
        InputError
            If a prompt does not fit the project or the context, or topics are missing.
        """
        texts = [""] * len(prompts)
        for at, text in self._pieces(prompts, sampling, stop, topics, batch):
            texts[at] += text
        return texts

    def stream(
        self,
        prompt: Prompt,
        sampling: Sampling | None = None,
        *,
        stop: Sequence[str] = (),
        topic: str | None = None,
    ) -> Iterator[str]:
        """Yield the answer to a prompt in pieces, as soon as they are known; see `generate`."""
        topics = None if topic is None else [topic]
        for _, text in self._pieces([prompt], sampling, stop, topics, 1):
            if text:
                yield text

    def logprobs(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str] | None = None,
        *,
        topics: Sequence[str] | None = None,
    ) -> list[Floats]:
        """Return the natural logarithm of the probability of each token of each answer.

        Parameters
        ----------
        prompts
            As in `generate`. Chats end with an answer, and running texts are their own answer.
        answers
            The answer to each prompt, where rows are prompts with answers.
        topics
            As in `generate`.

        Returns
        -------
        list of numpy.ndarray
            For each prompt an array of shape (tokens,).

        Raises
        ------
        InputError
            If answers are missing or not wanted, empty or too long.
        """
        rows = self._rows(prompts, answers, topics)
        scores = self.ensemble.row_scores(rows, self.ensemble.encoder.answer_column)
        return [scores.logprobs[part] for part in scores.slices]

    def perplexity(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str] | None = None,
        *,
        topics: Sequence[str] | None = None,
    ) -> Floats:
        """Return the perplexity of each answer, shape (prompts,); see `logprobs`."""
        found = self.logprobs(prompts, answers, topics=topics)
        return np.array([np.exp(-logs.mean()) for logs in found], np.float64)

    def tokens(self, prompt: Prompt) -> list[int]:
        """Return the tokens that an answer to a prompt continues; see `generate`.

        Raises
        ------
        InputError
            If the project has no such prompts.
        """
        encoder = self.ensemble.encoder
        if encoder.answer_column is not None:
            return encoder.prompt_of(_messages(prompt))
        if not isinstance(prompt, str):
            raise InputError("the model was not tuned on chats: a prompt is a text")
        if encoder.layout.column("body") is not None:
            return encoder.beginning(prompt)
        (found,) = encoder.prompts(pa.table({encoder.layout.column("prompt"): [prompt]}))
        return found

    def _pieces(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling | None,
        stop: Sequence[str],
        topics: Sequence[str] | None,
        batch: int,
    ) -> Iterator[tuple[int, str]]:
        """Yield the place of a prompt with a piece of its answer."""
        sampling = Sampling(_MOST) if sampling is None else sampling
        routes = self._routes(topics, len(prompts))
        tokens = [self.tokens(prompt) for prompt in prompts]
        decoder = Decoder(self.ensemble, batch)
        places: dict[int, int] = {}
        for at in sorted(range(len(prompts)), key=lambda at: len(tokens[at])):
            seed = None if sampling.seed is None else sampling.seed + at
            own = replace(sampling, seed=seed)
            places[decoder.add(Request(tokens[at], own, routes[at]))] = at
        streams = {number: TextStream(self.ensemble.encoder.tokenizer, stop) for number in places}
        while decoder.waiting or decoder.running:
            for step in decoder.step():
                stream = streams[step.number]
                if step.token is not None:
                    yield places[step.number], stream.push(step.token.id)
                if step.finish is not None:
                    yield places[step.number], stream.finish()
                elif stream.stopped:
                    decoder.cancel(step.number)

    def _routes(self, topics: Sequence[str] | None, count: int) -> list[int]:
        if not self.ensemble.decoded.routed:
            return [0] * count
        if topics is None or len(topics) != count:
            raise InputError("aggregate.rule: route needs the topic of each prompt")
        return [route_of(topic, len(self.ensemble.members)) for topic in topics]

    def _rows(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str] | None,
        topics: Sequence[str] | None,
    ) -> pa.Table:
        layout = self.ensemble.encoder.layout
        prompt, completion = layout.column("prompt"), layout.column("completion")
        single = layout.column("body")
        columns: dict[str, Any] = {}
        if (chats := layout.column("messages")) is not None:
            columns[chats] = _chats(prompts, answers)
        elif single is not None:
            if answers is not None:
                raise InputError("rows of this model have no separate answers")
            columns[single] = list(prompts)
        else:
            if answers is None or len(answers) != len(prompts):
                raise InputError("each prompt needs an answer")
            columns[str(prompt)] = list(prompts)
            columns[str(completion)] = list(answers)
        if (topic := layout.column("topic")) is not None and topics is not None:
            columns[topic] = list(topics)
        if not all(isinstance(text, str) for texts in columns.values() for text in texts):
            raise InputError("the model was not tuned on chats: a prompt is a text")
        return pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})


def load_language(folder: Path, root: Path, base: str | None = None) -> LanguageModel:
    """Load a final model of text.

    Parameters
    ----------
    folder
        `models/final_model`, or a copy of it.
    root
        The folder that a relative path of the base starts from.
    base
        The folder of the base, or its name on the hub, if it has moved since the training.

    Raises
    ------
    InputError
        If the folder is not a whole final model of text, was changed after it was made, or the base
        is another one.

    Examples
    --------
    >>> model = load_language(Path("models/final_model"), Path())
    >>> prompts = ["Where was Ada Holm born?", "Who wrote it?"]
    >>> len(model.generate(prompts, Sampling(8)))
    2
    >>> pieces = list(model.stream(prompts[0], Sampling(8, temperature=0.7, seed=1)))
    >>> model.perplexity(prompts, ["In Oslo.", "Ada Holm."]).shape
    (2,)
    """
    return LanguageModel(load_language_model(folder, root, base=base))


def _messages(prompt: Prompt) -> list[Message]:
    """Return the messages of a chat; a text is what a user says."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)


def _chats(prompts: Sequence[Prompt], answers: Sequence[str] | None) -> list[str]:
    """Return chats that end with answers, as shard files have them."""
    if answers is not None and len(answers) != len(prompts):
        raise InputError("each prompt needs an answer")
    chats = [_messages(prompt) for prompt in prompts]
    for chat, answer in zip(chats, answers or (), strict=False):
        chat.append({"role": "assistant", "content": answer})
    try:
        return [chat_text(parse_chat(chat)) for chat in chats]
    except ChatError as error:
        raise InputError(str(error)) from None
