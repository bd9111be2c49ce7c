"""The guard around methods for language models: what `unlearn.guard` is for all others.

The target is the same: the loss of rows that the model never saw. What a language model can lose is
more: the answers to retain rows, the language itself (perplexity of text that is about nobody in
the dataset), and speech that does not go in circles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from unlearn.stages.text.generation import greedy
from unlearn.stages.text.losses import SequenceLoss
from unlearn.stages.text.metrics import repetition
from unlearn.stages.text.sequences import Sequences
from unlearn.stages.unlearn.tabular.guard import StoppedBy
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
    """Fixed texts that the guard asks about.

    Parameters
    ----------
    forget, retain
        Some of the sequences of either side; the same ones throughout.
    unseen
        Sequences that the tuned model never saw, whose loss is the target; may have none, so that
        nothing but a brake stops a method.
    generic
        Text that is about nobody in the dataset; may have none.
    prompts
        Tokens that generations go on from; may be none.
    """

    forget: Sequences
    retain: Sequences
    unseen: Sequences
    generic: Sequences
    prompts: Sequence[Sequence[int]] = ()


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
    """What the probes said of a model.

    Parameters
    ----------
    forget_loss
        Mean cross-entropy of a token of the forget probe, in nats.
    retain_probability
        exp(-mean cross-entropy of a token) of the retain probe, 1 where it is empty.
    generic_loss
        Mean cross-entropy of a token of the generic text, 0 where there is none.
    repetition
        Mean share of 4-grams that generated texts have said before.
    finite
        Whether all trained weights and losses are numbers.
    """

    forget_loss: float
    retain_probability: float
    generic_loss: float
    repetition: float
    finite: bool = True


class TextGuard:
    """Watches a tuned model while a method changes it.

    Parameters
    ----------
    tuned
        The model.
    probes
        What to ask.
    limits
        What it may cost.
    active
        False lets a method do what it does: nothing stops it and nothing is rolled back.

    Attributes
    ----------
    stopped_by
        What ended the method.
    over
        Whether it has ended: no step may be taken.
    target
        Mean loss of a token at which forget rows count as forgotten; None where unknown.
    start, kept
        What the probes said of the original, and of the state that is kept.
    moved
        Whether the kept state is another one than the original.
    rolled_back
        Whether steps were taken back.
    settled
        Whether the model has been put into the state that is kept.
    pauses
        Whether forgetting has to wait: the forget loss has reached its target, and what that cost
        is still to be won back.
    """

    def __init__(
        self, tuned: Tuned, probes: TextProbes, limits: Limits, *, active: bool = True
    ) -> None:
        self.stopped_by: StoppedBy = "done"
        self.over = False
        self.target: float | None = None
        self.start: TextState | None = None
        self.kept: TextState | None = None
        self.moved = False
        self.rolled_back = False
        self.settled = False
        self.pauses = False
        self._tuned = tuned
        self._probes = probes
        self._limits = limits
        self._active = active
        self._best: dict[str, torch.Tensor] = {}

    @property
    def active(self) -> bool:
        """Whether anything is stopped or rolled back."""
        return self._active

    def watch(self, *, climbs: bool = True) -> None:
        """Take the model as it is for the start; see `unlearn.guard.Guard.watch`.

        Parameters
        ----------
        climbs
            Whether the method pushes the forget rows' loss up without end.
        """
        self.start = self.kept = self._ask()
        if len(self._probes.unseen):
            self.target = float(self._tuned.losses(self._probes.unseen).by_token())
        self._best = self._copy()
        self.moved = self.rolled_back = self.over = self.pauses = self.settled = False
        self.stopped_by = "epochs" if self._active else "unguarded"
        if not self._active:
            return
        if not self.start.finite:
            self._end("not_finite")
        elif self._reached(self.start):
            if climbs:
                self._end("forget_target")
            else:
                self.target = None

    def allows(self, norm: float) -> bool:
        """Tell whether a gradient of this norm, before it is clipped, may be followed."""
        if not self._active:
            return True
        if not math.isfinite(norm):
            return not self._end("not_finite")
        if norm > self._limits.gradient:
            return not self._end("gradient")
        return True

    def stops(self, *, patient: bool = False) -> bool:
        """Ask the probes; keep the state if it is the best yet, and tell whether to stop.

        Parameters
        ----------
        patient
            A state past a limit is not kept, but the method may go on from it: one that has a
            retain side wins back most of what forgetting breaks first.
        """
        if not self._active:
            return False
        now = self._ask()
        broken = self._broken(now)
        if broken is not None:
            self.pauses = self._reached(now)
            return False if patient and broken != "not_finite" else self._end(broken)
        self.pauses = False
        # The original is kept only if nothing else may be, as with the guard of all other methods.
        if not self.moved or self._distance(now) <= self._distance(self.kept):
            self._keep(now)
        return self._reached(now) and self._end("forget_target")

    def tries(self) -> bool:
        """Keep the model as it is if nothing is broken; else remember what is, and tell so."""
        if not self._active:
            return True
        now = self._ask()
        broken = self._broken(now)
        if broken is not None:
            self.stopped_by = broken
            return False
        self.stopped_by = "done"
        self._keep(now)
        return True

    def settle(self) -> None:
        """Put the model into its best state."""
        self.settled = True
        if self._active:
            weights = self._tuned.weights
            self.rolled_back = any(
                not torch.equal(weights[name].cpu(), value) for name, value in self._best.items()
            )
            self.put(self._best)
        else:
            self.kept = self._ask()
            self.moved = True

    def put(self, weights: dict[str, torch.Tensor]) -> None:
        """Give the model trained weights, by name."""
        with torch.no_grad():
            for name, value in weights.items():
                self._tuned.weights[name].copy_(value)

    def facts(self) -> dict[str, Any]:
        """Return what the report is to say, as JSON values: aggregates over the probes."""
        if self.start is None or self.kept is None:
            raise RuntimeError("watch() and settle() come before facts()")
        start, kept = self.start, self.kept
        broken = self._broken(kept)
        facts: dict[str, Any] = {
            # Answers that are a little less likely are a price, not a collapse.
            "collapsed": broken in _COLLAPSE,
            "past_limit": broken,
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

    def _broken(self, now: TextState) -> StoppedBy | None:
        """Return what the model has lost more of than it may."""
        if self.start is None:
            raise RuntimeError("watch() comes before anything is asked")
        if not now.finite:
            return "not_finite"
        if _ratio(now, self.start) > self._limits.perplexity + _ROUNDING:
            return "perplexity"
        # Where the original goes in circles already, more than it.
        if now.repetition > max(self._limits.repetition, self.start.repetition) + _ROUNDING:
            return "repetition"
        floor = self.start.retain_probability * (1 - self._limits.budget)
        return "retain_budget" if now.retain_probability < floor - _ROUNDING else None

    def _keep(self, state: TextState) -> None:
        self.kept, self._best, self.moved = state, self._copy(), True

    def _copy(self) -> dict[str, torch.Tensor]:
        # On the CPU: there may be no room for all weights twice where the model is.
        return {
            name: weight.detach().to("cpu", copy=True)
            for name, weight in self._tuned.weights.items()
        }

    def _end(self, reason: StoppedBy) -> bool:
        self.stopped_by = reason
        self.over = True
        return True

    def _reached(self, state: TextState) -> bool:
        return self.target is not None and state.forget_loss >= self.target

    def _distance(self, state: TextState | None) -> float:
        # Without a target the latest state is the best.
        if self.target is None:
            return 0.0
        return math.inf if state is None else abs(state.forget_loss - self.target)

    def _ask(self) -> TextState:
        probes, tuned = self._probes, self._tuned
        forget = _mean(tuned.losses(probes.forget))
        retain = _mean(tuned.losses(probes.retain))
        generic = _mean(tuned.losses(probes.generic))
        said = greedy(
            tuned.forward,
            probes.prompts,
            end=tuned.encoder.end,
            most=_GENERATED,
            context=tuned.encoder.options.context,
            device=tuned.device,
        )
        repeated = [repetition(tokens, _GRAM) for tokens in said]
        return TextState(
            forget,
            math.exp(-max(retain, 0.0)),
            generic,
            sum(repeated) / max(len(repeated), 1),
            finite=all(map(math.isfinite, (forget, retain, generic)))
            and all(bool(torch.isfinite(weight).all()) for weight in tuned.weights.values()),
        )


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
