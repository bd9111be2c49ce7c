"""The guard around methods for language models: its probes are texts, and it has more limits.

What a language model can lose is more: the answers to retain rows, the language itself (perplexity
of generic text), and speech that does not go in circles.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from unlearn.stages.text.generation import greedy
from unlearn.stages.text.losses import SequenceLoss
from unlearn.stages.text.metrics import repetition
from unlearn.stages.text.sequences import Sequences
from unlearn.stages.unlearn.base.guard import SHARE, Guard, StoppedBy
from unlearn.stages.unlearn.text.tuned import Tuned

#: Tokens that are generated from each prompt, and of how many a repetition consists.
_GENERATED, _GRAM = 24, 4

#: The limits past which a model no longer speaks.
_COLLAPSE = ("not_finite", "perplexity", "repetition")

#: Shares are quotients of sums in single precision: their differences round.
_ROUNDING = 1e-6

#: Digits of a number in a record that mean anything.
_DIGITS = 6


@dataclass(frozen=True)
class TextProbes:
    """Fixed texts that the guard measures a model on.

    Parameters
    ----------
    forget, retain
        Some of the sequences of either side; the same ones throughout.
    unseen
        Sequences that the fine-tuned model was not trained on, whose loss is the target where
        `young` gives none; may be empty, so that only a limit stops a method.
    generic
        Generic text, about nobody in the dataset; may be empty.
    prompts
        Tokens that generations continue; may be empty.
    young
        The loss of a token of the forget probe in the model of the stage `young`, which is the
        target; None where there is no such model or another target is chosen.
    """

    forget: Sequences
    retain: Sequences
    unseen: Sequences
    generic: Sequences
    prompts: Sequence[Sequence[int]] = ()
    young: float | None = None


@dataclass(frozen=True)
class Limits:
    """How much a method may cost.

    Parameters
    ----------
    budget
        Share of the original's probability of retain answers that may be lost, in [0, 1].
    perplexity
        How many times the original's perplexity of generic text may be reached.
    repetition
        Share of repeated 4-grams in generated text that is still speech.
    gradient
        Norm of the whole gradient at which it counts as exploding.
    """

    budget: float
    perplexity: float
    repetition: float
    gradient: float


@dataclass(frozen=True)
class TextState:
    """What the probes gave for a model.

    Parameters
    ----------
    forget_loss
        Mean cross-entropy of a token of the forget probe, in nats.
    retain_probability
        exp(-mean cross-entropy of a token) of the retain probe, 1 where it is empty.
    generic_loss
        Mean cross-entropy of a token of the generic text, 0 where there is none.
    repetition
        Mean share of 4-grams that generated texts repeat. Not a number where no text was generated:
        in a state that is past another limit, and in the original while no limit depends on it.
    finite
        Whether all trained weights and losses are numbers.
    """

    forget_loss: float
    retain_probability: float
    generic_loss: float
    repetition: float
    finite: bool = True


class TextGuard(Guard[TextState]):
    """Watches a tuned model while a method changes it.

    Parameters
    ----------
    tuned
        The model.
    probes
        What to measure it on.
    limits
        What it may cost.
    active
        False lets a method do what it does: nothing stops it and nothing is rolled back.
    share
        Share of the method's work that measurements may take.

    Attributes
    ----------
    settled
        Whether the model has been put into the state that is kept.
    """

    def __init__(
        self,
        tuned: Tuned,
        probes: TextProbes,
        limits: Limits,
        *,
        active: bool = True,
        share: float = SHARE,
    ) -> None:
        # What unseen sequences cost is measured where the model is watched from.
        super().__init__(
            probes.young,
            target_of="class" if probes.young is None else "young",
            look=_look(probes),
            share=share,
            gradient_limit=limits.gradient,
            active=active,
        )
        self.settled = False
        self._tuned = tuned
        self._probes = probes
        self._limits = limits
        self._first: dict[str, torch.Tensor] = {}
        self._said: list[list[int]] = []  # by the last model that generated texts

    def watch(self, *, ascends: bool = True) -> None:
        """Take the model as it is for the start; see `tabular.guard.TabularGuard.watch`.

        Parameters
        ----------
        ascends
            Whether the method ascends the forget rows' loss without a bound.
        """
        self.target = self._probes.young
        if self.target is None and len(self._probes.unseen):
            self.target = float(self._tuned.losses(self._probes.unseen).by_token())
        self.settled = False
        self.start = None
        self._begin(ascends=ascends)
        # The same tensors as the best state's, until there is another one.
        self._first = self._best if self._tuned.has_new_adapter else {}

    def allows(self, norm: float) -> bool:
        """Return whether a step along a gradient of this norm, before clipping, is allowed."""
        return self._follows(norm)

    def stops(self, *, recovers: bool = False) -> bool:
        """Measure the model; keep the state if it is the best so far, and return whether to stop.

        Parameters
        ----------
        recovers
            A state past a limit is not kept, but the method may go on from it: one that has a
            retain side recovers most of what forgetting breaks first.
        """
        return self._looks(recovers=recovers)

    def settle(self) -> None:
        """Put the model into its best state."""
        self.settled = True
        self._goes_back()
        if self.kept is self.start:
            # The model is the original again, and what it says is in the facts.
            with self._measuring():
                self._ask_original()

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Give the model trained weights, by name."""
        with torch.no_grad():
            for name, value in weights.items():
                self._tuned.weights[name].copy_(value)

    def facts(self) -> dict[str, Any]:
        """Return what the report is to say, as JSON values: aggregates over the probes."""
        if self.start is None or self.kept is None:
            raise RuntimeError("watch() and settle() come before facts()")
        start, kept = self.start, self.kept
        limit = self._past_limit(kept)
        facts: dict[str, Any] = {
            # Answers that are a little less likely are a price, not a collapse.
            "collapsed": limit in _COLLAPSE,
            "past_limit": limit,
            "target": _number(self.target),
            "forget_loss": _number(kept.forget_loss),
            "forget_loss_before": _number(start.forget_loss),
            "retain_probability": _number(kept.retain_probability),
            "retain_probability_before": _number(start.retain_probability),
            "perplexity_ratio": None,
            "repetition": None,
        }
        if len(self._probes.generic):
            facts["perplexity_ratio"] = _number(_ratio(kept, start))
        if self._probes.prompts:
            facts["repetition"] = _number(kept.repetition)
        return facts

    def _past_limit(self, state: TextState) -> StoppedBy | None:
        if self.start is None:
            raise RuntimeError("watch() comes first")
        if not state.finite:
            return "not_finite"
        if _ratio(state, self.start) > self._limits.perplexity + _ROUNDING:
            return "perplexity"
        # Where the original goes in circles already, more than it.
        before = 0.0 if math.isnan(self.start.repetition) else self.start.repetition
        if state.repetition > max(self._limits.repetition, before) + _ROUNDING:
            return "repetition"
        floor = self.start.retain_probability * (1 - self._limits.budget)
        return "retain_budget" if state.retain_probability < floor - _ROUNDING else None

    def _weights(self) -> Mapping[str, torch.Tensor]:
        return self._tuned.weights

    def _copy(self) -> dict[str, torch.Tensor]:
        # On the CPU: there may be no room for all weights twice where the model is.
        return {
            name: weight.detach().to("cpu", copy=True)
            for name, weight in self._tuned.weights.items()
        }

    def _measure(self) -> TextState:
        probes, tuned = self._probes, self._tuned
        forget = _mean(tuned.losses(probes.forget))
        retain = _mean(tuned.losses(probes.retain))
        generic = _mean(tuned.losses(probes.generic))
        state = TextState(
            forget,
            math.exp(-max(retain, 0.0)),
            generic,
            math.nan,
            finite=all(map(math.isfinite, (forget, retain, generic)))
            and all(bool(torch.isfinite(weight).all()) for weight in tuned.weights.values()),
        )
        if self._needs_no_text(state):
            return state
        repeated = self._repetition()
        if repeated > self._limits.repetition:
            self._ask_original()
        return replace(state, repetition=repeated)

    def _needs_no_text(self, state: TextState) -> bool:
        """Return whether nothing depends on what the model says; a text takes many passes."""
        if self.start is None:
            # Its texts count only if later ones go in circles, or if it is the answer.
            return self._tuned.has_new_adapter
        return self.active and self._past_limit(state) in ("not_finite", "perplexity")

    def _ask_original(self) -> None:
        """Let the original generate its texts, if it has not yet."""
        start = self.start
        if start is None or not math.isnan(start.repetition):
            return
        now = self._copy()
        self.restore(self._first)
        self.start = replace(start, repetition=self._repetition())
        self.restore(now)
        if self.kept is start:
            self.kept = self.start

    def _repetition(self) -> float:
        """Return the mean share of 4-grams that the model repeats behind the prompts."""
        probes, tuned = self._probes, self._tuned
        alike = (probes.unseen, probes.generic, probes.retain, probes.forget)
        texts = greedy(
            tuned.forward,
            probes.prompts,
            end=tuned.encoder.end,
            most=_GENERATED,
            context=tuned.encoder.options.context,
            device=tuned.device,
            drafts=[*self._said, *(text for part in alike for text in _texts(part))],
        )
        self._said = [[*prompt, *text] for prompt, text in zip(probes.prompts, texts, strict=True)]
        repeated = [repetition(tokens, _GRAM) for tokens in texts]
        return sum(repeated) / max(len(repeated), 1)


def _texts(sequences: Sequences) -> list[list[int]]:
    return [sequences.sequence(index).tolist() for index in range(len(sequences))]


def _look(probes: TextProbes) -> float:
    """Return what a measurement costs, in sequences that pass once through the model."""
    texts = len(probes.forget) + len(probes.retain) + len(probes.generic)
    return float(texts + _GENERATED * len(probes.prompts))


def _mean(losses: SequenceLoss) -> float:
    return float(losses.by_token())


def _ratio(state: TextState, start: TextState) -> float:
    """Return how many times the original's perplexity a state has."""
    gap = state.generic_loss - start.generic_loss
    return math.inf if gap > 700 else math.exp(gap)  # noqa: PLR2004 - no larger exponential is a number


def _number(value: float | None) -> float | None:
    """Return a number as a record has it; None where it is none."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, _DIGITS)
