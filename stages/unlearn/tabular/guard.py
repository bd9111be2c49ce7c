"""The guard around iterative methods for tables: its probes are rows, its limit is accuracy.

Where numbers are predicted, R squared takes the place of accuracy: the share of the variance of the
targets that the predictions explain, which is 1 at best as well.

A method changes the model in one phase, or in two: the second recovers what the first broke, and
must not undo what the first did.

    guard.watch(model)          first phase: stop at the target, keep what is nearest to it
    guard.hold(model)           second phase, if any: stop before the forgetting is undone
    guard.settle(model)         back to the state that was kept
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from unlearn.stages.config.methods import Target
from unlearn.stages.unlearn.base.guard import SHARE, Guard, StoppedBy
from unlearn.stages.unlearn.tabular.rows import Rows, piece_size, row_losses

_PIECE = 4096

#: How many times what a step costs besides its rows a measurement costs besides its own.
_LOOK_OVERHEAD = 3

#: Accuracies are fractions: their differences round.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Probes:
    """Fixed rows that the guard measures a model on.

    Parameters
    ----------
    forget, retain
        Some of the rows of either side; the same ones throughout.
    target
        Mean loss at which the forget rows count as forgotten. None where it is not known, so that
        nothing but the budget stops a method.
    target_of
        Whose loss that is: that of the model of the stage `young` on the forget rows, or that of
        the original on unseen rows of their classes.
    """

    forget: Rows
    retain: Rows
    target: float | None
    target_of: Target = "class"


@dataclass(frozen=True)
class State:
    """What the probes gave for a model.

    Parameters
    ----------
    forget_loss
        Mean loss of the forget probe; see `row_losses`.
    retain_accuracy
        Share of the retain probe that the model gets right, or R squared on it; 1 where the probe
        is empty.
    finite
        Whether the weights and the losses of both probes are numbers.
    """

    forget_loss: float
    retain_accuracy: float
    finite: bool = True


class TabularGuard(Guard[State]):
    """Watches a classifier while a method changes it.

    Parameters
    ----------
    probes
        What to measure it on.
    budget
        How much of its accuracy on the retain probe, or R squared, the model may lose, in [0, 1].
    gradient_limit
        Norm of the whole gradient at which it counts as exploding.
    active
        False lets a method do what it does: nothing stops it and nothing is rolled back.
    overhead
        What a step costs besides its rows, in rows that pass once through the model.
    share
        Share of the method's work that measurements may take.

    Attributes
    ----------
    held_by
        What ended the second phase; None where there was none.
    """

    def __init__(
        self,
        probes: Probes,
        *,
        budget: float,
        gradient_limit: float,
        active: bool = True,
        overhead: float = 0.0,
        share: float = SHARE,
    ) -> None:
        super().__init__(
            probes.target,
            target_of=probes.target_of,
            gradient_limit=gradient_limit,
            active=active,
            # It switches modules to evaluation, looks at all weights and may copy them.
            share=share,
            look=len(probes.forget) + len(probes.retain) + _LOOK_OVERHEAD * overhead,
        )
        self.overhead = overhead
        self.held_by: StoppedBy | None = None
        self._probes = probes
        self._budget = budget
        self._watched: nn.Module | None = None
        self._asked: nn.Module | None = None
        self._parameters: list[nn.Parameter] = []

    def watch(self, model: nn.Module, *, ascends: bool = True) -> None:
        """Take the model as it is for the start; what falls behind it by the budget goes back.

        A model that answers the forget rows no better than unseen ones has nothing to forget that
        this guard could see. A method that ascends their loss has no target, so its phase
        is over before the first step. One that does not goes on without a target: rows that are
        hard for any model, such as mislabelled ones, may be remembered all the same.

        Parameters
        ----------
        model
            The original.
        ascends
            Whether the method ascends the forget rows' loss.
        """
        self._watched, self.held_by = model, None
        self._begin(ascends=ascends)

    def hold(self, model: nn.Module) -> nn.Module:
        """Return the model in its best state, for a second phase that recovers accuracy.

        From here on the phase ends as soon as the forget loss falls below the target - or below
        what the first phase reached, if that is less. There is no second phase if the first one
        left nothing but the original.
        """
        if not self.active:
            self.held_by = "unguarded"
            return model
        self._watched = model
        self._goes_back()
        self.held_by = "epochs" if self.moved else "done"
        self.over = not self.moved
        return model

    def allows(self, model: nn.Module) -> bool:
        """Return whether a step along the model's gradients is allowed."""
        if not self.active:
            return True
        if self._asked is not model:
            # To walk through the modules takes as long as the norm itself.
            self._asked, self._parameters = model, list(model.parameters())
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not gradients:
            return self._follows(0.0)
        # All at once, which is nearly always enough.
        norms = torch._foreach_norm(gradients)  # noqa: SLF001 - `nn.utils` has it, at twice the time
        norm = float(torch.linalg.vector_norm(torch.stack(norms)))
        if norm < self._gradient_limit / 2:
            return True
        # In float64: the square of a large float32 is infinite.
        exact = [torch.linalg.vector_norm(g, dtype=torch.float64).cpu() for g in gradients]
        return self._follows(float(torch.linalg.vector_norm(torch.stack(exact))))

    def stops(self, model: nn.Module, *, recovers: bool = False) -> bool:
        """Measure the model; keep the state if it is the best so far, and return whether to stop.

        Parameters
        ----------
        model
            As it is after a step.
        recovers
            A state past the budget is not kept, but the method may continue from it.
        """
        self._watched = model
        return self._looks(recovers=recovers)

    def settle(self, model: nn.Module) -> nn.Module:
        """Return the model in its best state, in evaluation mode."""
        if self.start is None:
            raise RuntimeError("watch() comes before settle()")
        self._watched = model
        self._goes_back()
        return model.eval()

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Give the model these weights and buffers, by name."""
        self._model.load_state_dict(weights)

    @property
    def _model(self) -> nn.Module:
        if self._watched is None:
            raise RuntimeError("watch() comes first")
        return self._watched

    def _weights(self) -> Mapping[str, torch.Tensor]:
        return self._model.state_dict()

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self._weights().items()}

    def _past_limit(self, state: State) -> StoppedBy | None:
        if self.start is None:
            raise RuntimeError("watch() comes first")
        if not state.finite:
            return "not_finite"
        floor = self.start.retain_accuracy - self._budget - _ROUNDING
        return "retain_budget" if state.retain_accuracy < floor else None

    def _end(self, reason: StoppedBy) -> bool:
        if self.held_by is None:
            return super()._end(reason)
        self.held_by = reason
        self.over = True
        return True

    def _forgets(self, state: State) -> bool:
        return self._repairs(state) if self.held_by else super()._forgets(state)

    def _repairs(self, state: State) -> bool:
        kept = self.kept or state
        # The loss that is kept may fall to the target, but not below it, nor further below it.
        floor = kept.forget_loss if self.target is None else min(self.target, kept.forget_loss)
        if state.forget_loss < floor:
            return self._end("forgetting")
        if state.retain_accuracy >= kept.retain_accuracy:
            self._keep(state)
        return False

    def _measure(self) -> State:
        model = self._model
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
    """Return every row's loss, and what it adds to the accuracy, both shape (rows,).

    That is 1 for a right class; for a number what makes the mean over the rows R squared.
    """
    losses, right = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.float64)]
    of_numbers = rows.targets.is_floating_point()
    # Of targets that are all the same, the error itself counts, in the pinned scale.
    variance = float(rows.targets.double().var(correction=0)) if of_numbers and len(rows) else 0.0
    for piece in rows.pieces(piece_size(rows.inputs, _PIECE)):
        outputs = model(piece.inputs).double()
        found = row_losses(outputs, piece.targets).cpu()
        losses.append(found)
        if of_numbers:
            right.append(1.0 - found / (variance or 1.0))
        else:
            right.append((outputs.argmax(dim=1) == piece.targets).double().cpu())
    return torch.cat(losses), torch.cat(right)
