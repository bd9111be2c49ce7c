"""The guard around iterative methods: when to stop, and which state to keep.

Forgetting too much gives a row away as surely as forgetting too little: the target is the loss of
rows that the model never saw, not the largest loss.

A method changes the model in one phase, or in two: the second wins back what the first broke, and
must not undo what the first did.

    guard.watch(model)          first phase: stop at the target, keep what is nearest to it
    guard.hold(model)           second phase, if any: stop before the forgetting is undone
    guard.settle(model)         back to the state that was kept
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn
from unlearn.stages.unlearn.tabular.rows import Rows

#: Why a phase ended. `done`: it had no steps to take. `epochs`: all of them were taken.
#: `forgetting`: more steps of the second phase would undo the first's. `perplexity` and
#: `repetition`: of language models alone.
StoppedBy = Literal[
    "done",
    "epochs",
    "forget_target",
    "forgetting",
    "retain_budget",
    "perplexity",
    "repetition",
    "not_finite",
    "gradient",
    "unguarded",
]

_PIECE = 4096

#: Accuracies are fractions: their differences round.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Probes:
    """Fixed rows that the guard asks about.

    Parameters
    ----------
    forget, retain
        Some of the rows of either side; the same ones throughout.
    target
        Mean loss at which the forget rows count as forgotten: that of unseen rows of their classes.
        None where there are none, so that nothing but the budget stops a method.
    """

    forget: Rows
    retain: Rows
    target: float | None


@dataclass(frozen=True)
class State:
    """What the probes said of a model.

    Parameters
    ----------
    forget_loss
        Mean cross-entropy of the forget probe.
    retain_accuracy
        Share of the retain probe that the model gets right, 1 where the probe is empty.
    finite
        Whether the weights and the losses of both probes are numbers.
    """

    forget_loss: float
    retain_accuracy: float
    finite: bool = True


class Guard:
    """Watches a model while a method changes it.

    Parameters
    ----------
    probes
        What to ask.
    budget
        How much of its accuracy on the retain probe the model may lose, in [0, 1].
    gradient_limit
        Norm of the whole gradient at which it counts as exploding.
    active
        False lets a method do what it does: nothing stops it and nothing is rolled back.

    Attributes
    ----------
    stopped_by
        What ended the first phase.
    held_by
        What ended the second phase; None where there was none.
    over
        Whether the phase has ended: no step may be taken.
    start, kept
        What the probes said of the original, and of the state that is kept.
    moved
        Whether the kept state is another one than the original.
    rolled_back
        Whether steps were taken back.
    rows_read
        How many rows the probes cost.
    """

    def __init__(
        self, probes: Probes, *, budget: float, gradient_limit: float, active: bool = True
    ) -> None:
        self.stopped_by: StoppedBy = "done"
        self.held_by: StoppedBy | None = None
        self.over = False
        self.start: State | None = None
        self.kept: State | None = None
        self.moved = False
        self.rolled_back = False
        self.rows_read = 0
        self._probes = probes
        self._budget = budget
        self._limit = gradient_limit
        self._active = active
        self._best: dict[str, torch.Tensor] = {}

    def watch(self, model: nn.Module, *, climbs: bool = True) -> None:
        """Take the model as it is for the start; what falls behind it by the budget goes back.

        A model that answers the forget rows no better than unseen ones has nothing to forget that
        this guard could see. A method that climbs their loss would climb without end, so its phase
        is over before the first step. One that does not goes on without a target: rows that are
        hard for any model, such as mislabelled ones, may be remembered all the same.

        Parameters
        ----------
        model
            The original.
        climbs
            Whether the method pushes the forget rows' loss up.
        """
        self.start = self.kept = self._ask(model)
        self._best = _copy(model)
        self.held_by = None
        self.moved = self.rolled_back = self.over = False
        self.stopped_by = "epochs" if self._active else "unguarded"
        if not self._active:
            return
        if not self.start.finite:
            self._end("not_finite")
        elif self._reached(self.start):
            if climbs:
                self._end("forget_target")
            else:
                self._probes = replace(self._probes, target=None)

    def hold(self, model: nn.Module) -> nn.Module:
        """Return the model in its best state, for a second phase that wins accuracy back.

        From here on the phase ends as soon as the forget loss falls below the target - or below
        what the first phase reached, if that is less. There is no second phase if the first one
        left nothing but the original.
        """
        if not self._active:
            self.held_by = "unguarded"
            return model
        self._roll_back(model)
        self.held_by = "epochs" if self.moved else "done"
        self.over = not self.moved
        return model

    def allows(self, model: nn.Module) -> bool:
        """Tell whether the gradients that the model holds may be followed."""
        if not self._active:
            return True
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        # In float64: the square of a large float32 is infinite.
        norms = [torch.linalg.vector_norm(g, dtype=torch.float64).cpu() for g in gradients]
        norm = float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
        if not math.isfinite(norm):
            return not self._end("not_finite")
        if norm > self._limit:
            return not self._end("gradient")
        return True

    def stops(self, model: nn.Module, *, patient: bool = False) -> bool:
        """Ask the probes; keep the state if it is the best yet, and tell whether to stop.

        Parameters
        ----------
        model
            As it is after a step.
        patient
            A state past the budget is not kept, but the method may go on from it.
        """
        if not self._active:
            return False
        if self.start is None or self.kept is None:
            raise RuntimeError("watch() comes before stops()")
        now = self._ask(model)
        if not now.finite:
            return self._end("not_finite")
        if now.retain_accuracy < self.start.retain_accuracy - self._budget - _ROUNDING:
            return False if patient else self._end("retain_budget")
        return self._repairs(model, now) if self.held_by else self._forgets(model, now)

    def settle(self, model: nn.Module) -> nn.Module:
        """Return the model in its best state, in evaluation mode."""
        if self.start is None:
            raise RuntimeError("watch() comes before settle()")
        if self._active:
            self._roll_back(model)
        else:
            self.kept = self._ask(model)
            self.moved = True
        return model.eval()

    def _forgets(self, model: nn.Module, now: State) -> bool:
        # The original is kept only if nothing else may be: a state that is nearer to the target by
        # nothing but chance must not make the method's answer the untouched model.
        if not self.moved or self._distance(now) <= self._distance(self.kept):
            self._keep(model, now)
        return self._reached(now) and self._end("forget_target")

    def _repairs(self, model: nn.Module, now: State) -> bool:
        kept = self.kept or now
        target = self._probes.target
        # The loss that is kept may fall to the target, but not below it, nor further below it.
        floor = kept.forget_loss if target is None else min(target, kept.forget_loss)
        if now.forget_loss < floor:
            return self._end("forgetting")
        if now.retain_accuracy >= kept.retain_accuracy:
            self._keep(model, now)
        return False

    def _keep(self, model: nn.Module, state: State) -> None:
        self.kept, self._best, self.moved = state, _copy(model), True

    def _roll_back(self, model: nn.Module) -> None:
        state = model.state_dict()
        self.rolled_back |= any(not torch.equal(state[n], v) for n, v in self._best.items())
        model.load_state_dict(self._best)

    def _end(self, reason: StoppedBy) -> bool:
        if self.held_by is None:
            self.stopped_by = reason
        else:
            self.held_by = reason
        self.over = True
        return True

    def _reached(self, state: State) -> bool:
        return self._probes.target is not None and state.forget_loss >= self._probes.target

    def _distance(self, state: State | None) -> float:
        # Without a target the latest state is the best.
        if self._probes.target is None:
            return 0.0
        return math.inf if state is None else abs(state.forget_loss - self._probes.target)

    def _ask(self, model: nn.Module) -> State:
        # Module by module: a method may keep some in evaluation mode.
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            # Not in inference mode: what a user's module stores there could not be trained on.
            with torch.no_grad():
                losses, _ = _answers(model, self._probes.forget)
                others, right = _answers(model, self._probes.retain)
        finally:
            for module, training in modes:
                module.training = training
        self.rows_read += len(losses) + len(others)
        return State(
            float(losses.mean()) if len(losses) else 0.0,
            float(right.mean()) if len(right) else 1.0,
            finite=all(
                bool(torch.isfinite(value).all())
                for value in (losses, others, *model.state_dict().values())
                if value.is_floating_point()
            ),
        )


def _answers(model: nn.Module, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Return every row's cross-entropy, and whether the answer is right, both shape (rows,)."""
    losses, right = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.float64)]
    for piece in rows.pieces(_PIECE):
        outputs = model(piece.inputs).double()
        losses.append(nn.functional.cross_entropy(outputs, piece.targets, reduction="none").cpu())
        right.append((outputs.argmax(dim=1) == piece.targets).double().cpu())
    return torch.cat(losses), torch.cat(right)


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
