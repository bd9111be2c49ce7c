"""The final model of a language project: adapters that answer as one, or one whole model."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.config.text import LoraOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import CausalEstimator
from unlearn.stages.text import adapters
from unlearn.stages.text.decoded_model import DecodedModel
from unlearn.stages.text.decoding import Decoder, Request, decode_all
from unlearn.stages.text.encoding import Encoder
from unlearn.stages.text.leave_one_out import log_probabilities_without
from unlearn.stages.text.scoring import (
    BATCH,
    NOTHING,
    Columns,
    Floats,
    Forward,
    TokenScores,
    columns_of,
    joined,
    of_members,
    put_apart,
    score,
)
from unlearn.stages.text.sequences import Ints, Sequences
from unlearn.stages.text.token_choice import Sampling

#: Prompts per batch of generation.
_GENERATED_AT_ONCE = 32

#: Sequences per batch, counted for each member that is evaluated.
_TOGETHER = BATCH


@dataclass(frozen=True)
class LanguageMember:
    """One model in an ensemble: its shard, and the rows that it was tuned on."""

    shard: str
    rows: int

    @property
    def has_probabilities(self) -> bool:
        """Answers are probabilities."""
        return True


@dataclass(frozen=True)
class Answered:
    """What an ensemble says of rows.

    Parameters
    ----------
    sequences
        The rows as sequences; a body may be several.
    members
        Each member's scores of them.
    final
        The ensemble's.
    without
        Log-probability of each token that the loss counts under ensembles without the row's own
        member and without one more, shape (tokens, members), as `log_probabilities_without` has
        it; None if it was not requested, or no member would be left.
    """

    sequences: Sequences
    members: tuple[TokenScores, ...]
    final: TokenScores
    without: Floats | None = None


class LanguageEnsemble:
    """Language models that answer as one.

    By `mean_log_probability` each next token's log-probabilities are the mean of the members',
    renormalised: a token that one of them rules out is ruled out. By `route` one of them answers,
    chosen by the SHA-256 of the text in the column of the role `topic`. By `merged` there is one
    member: the adapter that was made of all.

    Parameters
    ----------
    estimator
        Says how rows are encoded and where the model is.
    module
        The model, adapters of all members on it.
    members
        The members, in the order of their adapters.
    rule
        How they answer together.
    dataset
        What of params.yaml reading new rows takes.
    """

    def __init__(
        self,
        estimator: CausalEstimator,
        module: nn.Module,
        members: Sequence[LanguageMember],
        rule: AggregationRule,
        dataset: DatasetParams,
    ) -> None:
        self.members = tuple(members)
        self.rule = rule
        self.dataset = dataset
        self._estimator = estimator
        self._module = module.eval()

    @property
    def encoder(self) -> Encoder:
        """Turns rows into sequences."""
        return self._estimator.encoder

    @property
    def module(self) -> nn.Module:
        """The model with all adapters on it."""
        return self._module

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._estimator.device

    @property
    def has_probabilities(self) -> bool:
        """Answers are probabilities."""
        return True

    @property
    def forward(self) -> Forward:
        """Asks all members together, or the only one; not by `route`, which takes rows."""
        return self._forward_of(0) if len(self.members) == 1 else self._mean

    def tuned_parameters(self) -> list[nn.Parameter]:
        """Return what was tuned of the only member: its adapter, or all weights."""
        if self._has_adapters:
            return adapters.parameters(self._module, self.members[0].shard)
        return list(self._module.parameters())

    def merged(self) -> nn.Module:
        """Return a copy of the only member as one whole model."""
        whole: nn.Module = copy.deepcopy(self._module)
        if self._has_adapters:
            self._activate(0)
            whole = whole.merge_and_unload()  # type: ignore[operator]  # of PEFT
        return whole.eval()

    def to_tune_on(self, seed: int) -> "LanguageEnsemble":
        """Return the state from which training of the only member continues.

        For adapters this is a new one on a merged copy. It has the same shape for all models, so
        that no model learns faster because of a larger adapter.
        """
        options = self._estimator.options
        if not isinstance(options, LoraOptions):
            return self
        whole: Any = self.merged()
        name = self.members[0].shard
        shape = adapters.shape_of(options, whole)
        wrapped = adapters.wrap(whole, shape, name=name)
        adapters.redraw(wrapped, seed, name)
        return self.of_module(wrapped)

    def of_module(self, module: nn.Module) -> "LanguageEnsemble":
        """Return the only member with another model in the place of its own."""
        return LanguageEnsemble(self._estimator, module, self.members, self.rule, self.dataset)

    def with_members(self, members: Sequence[LanguageMember]) -> "LanguageEnsemble":
        """Return some of the members as a model of their own, on the same base."""
        return LanguageEnsemble(self._estimator, self._module, members, self.rule, self.dataset)

    def answer(self, rows: pa.Table, column: str | None = None) -> Answered:
        """Ask every member, and the ensemble, about rows.

        Parameters
        ----------
        rows
            A table of the layout.
        column
            Which column is the answer; see `Encoder.encode`.

        Raises
        ------
        InputError
            If no member is left, or rows are too long.
        """
        sequences, members = self.answer_each(rows, column)
        if len(members) == 1:
            return Answered(sequences, members, members[0])
        if self.rule == "route":
            chosen = self.routes(rows)[sequences.rows]
            return Answered(sequences, members, of_members(members, chosen))
        return Answered(sequences, members, self.score(sequences, self._mean))

    def answer_each(
        self, rows: pa.Table, column: str | None = None
    ) -> tuple[Sequences, tuple[TokenScores, ...]]:
        """Ask every member alone about rows; see `answer`."""
        self._check_members()
        sequences = self.encoder.encode(rows, column).sequences
        numbers = range(len(self.members))
        return sequences, tuple(self.score(sequences, self._forward_of(n)) for n in numbers)

    def answer_without(self, rows: pa.Table, home: Ints) -> Answered:
        """Ask every member, the ensemble, and ensembles without some members; see `answer`.

        All of it in one pass, where members answer by their mean.

        Parameters
        ----------
        rows
            A table of the layout.
        home
            Each row's own member, shape (rows,).
        """
        count = len(self.members)
        if self.rule == "route" or count < 3:  # noqa: PLR2004 - own, another one, and one to ask
            return self.answer(rows)
        sequences = self.encoder.encode(rows).sequences
        own = home[sequences.rows]
        members: list[list[Columns]] = [[NOTHING] * len(sequences) for _ in range(count)]
        final: list[Columns] = [NOTHING] * len(sequences)
        parts: list[Floats] = [np.zeros((0, count))] * len(sequences)
        size, device = max(1, _TOGETHER // count), self._estimator.device
        with torch.inference_mode():
            for indices, batch in sequences.batches(size, self.encoder.pad, device):
                logs = self._each(batch.inputs, batch.counted)
                for member, own_logs in zip(members, logs, strict=True):
                    put_apart(member, indices, batch, columns_of(own_logs, batch.targets))
                whole = columns_of(logs.mean(dim=0), batch.targets)
                put_apart(final, indices, batch, whole)
                sizes = batch.counted.sum(dim=1).cpu().numpy()
                homes = torch.from_numpy(np.repeat(own[indices], sizes)).to(device)
                left = log_probabilities_without(logs, batch.targets, homes).cpu().numpy()
                for index, part in zip(indices, np.split(left, np.cumsum(sizes)[:-1]), strict=True):
                    parts[int(index)] = part
        return Answered(
            sequences,
            tuple(joined(member) for member in members),
            joined(final),
            np.concatenate([np.zeros((0, count)), *parts]),
        )

    def scores(self, rows: pa.Table, column: str | None = None) -> TokenScores:
        """Ask the ensemble alone about rows; see `answer`."""
        self._check_members()
        return self._scores(rows, column, self.encoder.encode(rows, column).sequences)

    def row_scores(self, rows: pa.Table, column: str | None = None) -> TokenScores:
        """Ask the ensemble about rows, the tokens of each row together; see `answer`."""
        self._check_members()
        sequences = self.encoder.encode(rows, column).sequences
        return self._scores(rows, column, sequences).by_row(sequences.rows, rows.num_rows)

    def _scores(self, rows: pa.Table, column: str | None, sequences: Sequences) -> TokenScores:
        if self.rule == "route" and len(self.members) > 1:
            return self.answer(rows, column).final
        return self.score(sequences, self.forward)

    def score(self, sequences: Sequences, forward: Forward) -> TokenScores:
        """Score sequences by one way of asking."""
        together = len(self.members) if forward == self._mean else 1
        return score(
            forward,
            sequences,
            self.encoder.pad,
            device=self._estimator.device,
            # The mean evaluates all members together, and needs the logits of all of them.
            batch=max(1, BATCH // together),
        )

    def generate(self, rows: pa.Table, most: int) -> list[str]:
        """Return what follows each row's prompt, the most probable token each time.

        Parameters
        ----------
        rows
            A table with the prompts, and the topics where the rule routes.
        most
            Tokens at most.
        """
        self._check_members()
        prompts = self.encoder.prompts(rows)
        routes = self.routes(rows) if self.decoded.routed else np.zeros(len(prompts), np.int64)
        # Prompts of similar length together: less is padded.
        order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
        sampling = Sampling(most)
        found = decode_all(
            Decoder(self, max(1, _GENERATED_AT_ONCE // self.decoded.copies)),
            [Request(prompts[at], sampling, int(routes[at])) for at in order],
        )
        texts = [""] * len(prompts)
        for at, tokens in zip(order, found, strict=True):
            texts[at] = self.encoder.decode([token.id for token in tokens])
        return texts

    @property
    def decoded(self) -> DecodedModel:
        """What a `Decoder` takes of the ensemble."""
        several = len(self.members) > 1
        routed = several and self.rule == "route"
        return DecodedModel(
            module=self._module,
            adapters=tuple(of.shard for of in self.members) if self._has_adapters else (),
            routed=routed,
            read=self._read_each if routed else lambda inputs, _routes: self.forward(inputs),
            context=self._estimator.options.context,
            ends=frozenset((self.encoder.end,)),
            device=self.device,
            half=self._estimator.options.precision == "bfloat16",
        )

    def _read_each(self, inputs: torch.Tensor, routes: Sequence[int]) -> torch.Tensor:
        """Return the log-probabilities of every next token, each sequence by its own member."""
        parts = [self._forward_of(route)(inputs[at : at + 1]) for at, route in enumerate(routes)]
        return torch.log_softmax(torch.cat(parts).float(), dim=-1)

    def forward_of_one(self, numbers: Sequence[int]) -> Forward:
        """Return what asks one adapter whose update is the mean of these members'."""
        names = [self.members[number].shard for number in numbers]

        def forward(inputs: torch.Tensor) -> torch.Tensor:
            with adapters.averaged(self._module, names):
                return self._estimator.forward(self._module, inputs)

        return forward

    def routes(self, rows: pa.Table) -> Ints:
        """Return the member that answers each row by its topic, shape (rows,)."""
        topic = self.encoder.layout.column("topic")
        if topic is None or topic not in rows.column_names:
            raise InputError("aggregate.rule: route needs the column of the role `topic`")
        return np.array(
            [route_of(text or "", len(self.members)) for text in rows[topic].to_pylist()],
            dtype=np.int64,
        )

    @property
    def _has_adapters(self) -> bool:
        # As only PEFT's models have it.
        return hasattr(self._module, "get_base_model")

    def _check_members(self) -> None:
        if not self.members:
            raise InputError("the final model has no members: every shard lost all its rows")

    def _forward_of(self, number: int) -> Forward:
        def forward(inputs: torch.Tensor) -> torch.Tensor:
            self._activate(number)
            return self._estimator.forward(self._module, inputs)

        return forward

    def _activate(self, number: int) -> None:
        if self._has_adapters:
            self._module.set_adapter(self.members[number].shard)  # type: ignore[operator]  # of PEFT

    def _mean(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the mean of the members' log-probabilities."""
        # Renormalised by the caller's softmax.
        return self._each(inputs).mean(dim=0)

    def _each(self, inputs: torch.Tensor, counted: torch.Tensor | None = None) -> torch.Tensor:
        """Return the members' log-probabilities, all adapters in one pass, members first.

        Parameters
        ----------
        inputs
            Shape (sequences, length).
        counted
            Where an answer's token is predicted, shape (sequences, length - 1): only these, one
            behind the other. All of a vocabulary, they are what takes memory.
        """
        count = len(self.members)
        names = [member.shard for member in self.members for _ in range(len(inputs))]
        with self._autocast():
            logits = self._module(
                input_ids=inputs.repeat(count, 1), adapter_names=names, use_cache=False
            ).logits
        logits = logits.view(count, *inputs.shape, -1)
        if counted is not None:
            logits = logits[:, :, :-1][:, counted]
        return torch.log_softmax(logits.float(), dim=-1)

    def _autocast(self) -> torch.autocast:
        half = self._estimator.options.precision == "bfloat16"
        return torch.autocast(self._estimator.device.type, torch.bfloat16, enabled=half)


def route_of(topic: str, members: int) -> int:
    """Return the member that answers rows of a topic: a public rule, without any key."""
    return int.from_bytes(hashlib.sha256(topic.encode()).digest()[:8], "big") % members
