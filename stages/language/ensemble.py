"""The final model of a language project: adapters that answer as one, or one whole model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load as load_tensors
from torch import nn
from unlearn.stages.dataset_params import DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import CausalEstimator, LoraEstimator, language_estimator
from unlearn.stages.language import adapters
from unlearn.stages.language.encoding import Encoder
from unlearn.stages.language.scoring import Forward, TokenScores, joined, score
from unlearn.stages.language.sequences import Ints, Sequences
from unlearn.stages.params import AggregationRule
from unlearn.stages.shard_file import Layout
from unlearn.stages.shard_model import ShardModel
from unlearn.stages.train_params import TrainParams

#: Prompts that a text is generated for at once.
_GENERATED_AT_ONCE = 16


@dataclass(frozen=True)
class LanguageMember:
    """One model in an ensemble: its shard, and the rows that it was tuned on."""

    shard: str
    rows: int


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
    """

    sequences: Sequences
    members: tuple[TokenScores, ...]
    final: TokenScores


class LanguageEnsemble:
    """Language models that answer as one.

    By `mean_log_probability` each next token's log-probabilities are the mean of the members',
    renormalised: a token that one of them rules out is ruled out. By `route` one of them answers,
    chosen by the SHA-256 of the text in the column of the role `topic`.

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
    def has_probabilities(self) -> bool:
        """Answers are probabilities."""
        return True

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
        self._check_members()
        sequences = self.encoder.encode(rows, column).sequences
        members = tuple(
            self.score(sequences, self._forward_of(number)) for number in range(len(self.members))
        )
        if len(members) == 1:
            return Answered(sequences, members, members[0])
        if self.rule == "route":
            chosen = self.routes(rows)[sequences.rows]
            return Answered(sequences, members, _chosen(members, chosen))
        return Answered(sequences, members, self.score(sequences, self._mean))

    def scores(self, rows: pa.Table, column: str | None = None) -> TokenScores:
        """Ask the ensemble alone about rows; see `answer`."""
        self._check_members()
        sequences = self.encoder.encode(rows, column).sequences
        if len(self.members) == 1:
            return self.score(sequences, self._forward_of(0))
        if self.rule == "route":
            return self.answer(rows, column).final
        return self.score(sequences, self._mean)

    def score(self, sequences: Sequences, forward: Forward) -> TokenScores:
        """Score sequences by one way of asking."""
        return score(forward, sequences, self.encoder.pad, device=self._estimator.device)

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
        routes = self.routes(rows) if self.rule == "route" else np.zeros(len(prompts), np.int64)
        texts = [""] * len(prompts)
        # Prompts of one length together: nothing has to be padded on the left.
        order = sorted(range(len(prompts)), key=lambda at: (len(prompts[at]), int(routes[at])))
        groups: dict[tuple[int, int], list[int]] = {}
        for at in order:
            groups.setdefault((len(prompts[at]), int(routes[at])), []).append(at)
        for (_, route), places in groups.items():
            for start in range(0, len(places), _GENERATED_AT_ONCE):
                part = places[start : start + _GENERATED_AT_ONCE]
                for at, tokens in zip(
                    part, self._continue([prompts[at] for at in part], route, most), strict=True
                ):
                    texts[at] = self.encoder.decode(tokens)
        return texts

    def routes(self, rows: pa.Table) -> Ints:
        """Return the member that answers each row by its topic, shape (rows,)."""
        topic = self.encoder.layout.column("topic")
        if topic is None or topic not in rows.column_names:
            raise InputError("aggregate.rule: route needs the column of the role `topic`")
        return np.array(
            [route_of(text or "", len(self.members)) for text in rows[topic].to_pylist()],
            dtype=np.int64,
        )

    def _check_members(self) -> None:
        if not self.members:
            raise InputError("the final model has no members: every shard lost all its rows")

    def _forward_of(self, number: int) -> Forward:
        def forward(inputs: torch.Tensor) -> torch.Tensor:
            self._activate(number)
            return self._estimator.forward(self._module, inputs)

        return forward

    def _activate(self, number: int) -> None:
        if isinstance(self._estimator, LoraEstimator):
            self._module.set_adapter(self.members[number].shard)  # type: ignore[operator]  # of PEFT

    def _mean(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the mean of the members' log-probabilities: all adapters in one pass."""
        count = len(self.members)
        names = [member.shard for member in self.members for _ in range(len(inputs))]
        with torch.autocast(
            self._estimator.device.type,
            torch.bfloat16,
            enabled=self._estimator.options.precision == "bfloat16",
        ):
            logits = self._module(
                input_ids=inputs.repeat(count, 1), adapter_names=names, use_cache=False
            ).logits
        logs = torch.log_softmax(logits.float(), dim=-1)
        # Renormalised by whoever takes a softmax of it.
        return logs.view(count, *inputs.shape, -1).mean(dim=0)

    def _continue(self, prompts: list[list[int]], route: int, most: int) -> list[list[int]]:
        """Return the greedy continuations of prompts of one length."""
        inputs = torch.tensor(prompts, device=self._estimator.device)
        forward = self._forward_of(route)
        if len(self.members) > 1 and self.rule != "route":
            forward = self._mean
        found: list[list[int]] = [[] for _ in prompts]
        done = [False] * len(prompts)
        room = self._estimator.options.context - inputs.shape[1]
        with torch.inference_mode():
            for _ in range(min(most, max(room, 0))):
                # Without a cache of keys: answers are short, and so is this.
                following = forward(inputs)[:, -1].argmax(dim=-1)
                for at, token in enumerate(following.tolist()):
                    done[at] = done[at] or token == self.encoder.end
                    if not done[at]:
                        found[at].append(int(token))
                if all(done):
                    break
                inputs = torch.cat([inputs, following[:, None]], dim=1)
        return found


def route_of(topic: str, members: int) -> int:
    """Return the member that answers rows of a topic: a public rule, without any key."""
    return int.from_bytes(hashlib.sha256(topic.encode()).digest()[:8], "big") % members


def _chosen(members: Sequence[TokenScores], chosen: Ints) -> TokenScores:
    """Return for each sequence the scores of the member that was chosen for it."""
    parts = members[0].slices
    found = []
    for part, number in zip(parts, chosen, strict=True):
        of = members[int(number)]
        found.append((of.logprobs[part], of.mean[part], of.spread[part], of.right[part]))
    return joined(found)


def open_language_models(
    models: Sequence[tuple[str, ShardModel]],
    dataset: DatasetParams,
    rule: AggregationRule,
    root: Path,
) -> LanguageEnsemble:
    """Open language models as one.

    Parameters
    ----------
    models
        Shard and model of each member; those without rows are left out.
    dataset
        What of params.yaml reading new rows takes.
    rule
        How they answer together.
    root
        The project's folder, which the base's path starts from.

    Raises
    ------
    InputError
        If the base is not the one that the models name, or weights do not fit.
    """
    members = [(name, model) for name, model in models if model.kind != "empty"]
    if not members:
        raise InputError("the final model has no members: every shard lost all its rows")
    first = members[0][1]
    train = TrainParams.model_validate(first.description["train"])
    estimator = language_estimator(train, Layout.of(dataset), root)
    told = [LanguageMember(name, int(model.description["rows"])) for name, model in members]
    if not isinstance(estimator, LoraEstimator):
        if len(members) > 1:
            raise InputError("whole language models cannot be combined: only adapters can")
        module = estimator.open(first.weights or b"", first.description)
        return LanguageEnsemble(estimator, module, told, rule, dataset)
    (name, model), *others = members
    wrapped = adapters.wrap(estimator.base, _shape(model), name=name)
    adapters.restore(wrapped, load_tensors(model.weights or b""), name)
    for name, model in others:
        adapters.add(wrapped, _shape(model), name, load_tensors(model.weights or b""))
    return LanguageEnsemble(estimator, wrapped, told, rule, dataset)


def _shape(model: ShardModel) -> adapters.Shape:
    return adapters.Shape.from_json(model.description["adapter"])
