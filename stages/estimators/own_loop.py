"""A training loop of the user's own: `train.loop`.

It is called once for each slice, `train_slice(state, rows, seed, settings)`, and returns the state
after it: named tensors. docs/own-training.md has its contract.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.own_loop_rows import LoopRows, Networks
from unlearn.stages.estimators.torch_machine import seed_all
from unlearn.stages.estimators.torch_state import WEIGHTS, Tensors
from unlearn.stages.project.user_code import load_function

#: A name that the file format keeps for itself.
_RESERVED = "__metadata__"

Loop = Callable[[Tensors | None, LoopRows, int, TrainParams], Any]


class OwnLoop:
    """The user's function, and what it may return.

    Parameters
    ----------
    train
        The settings; `train.loop` names the function.
    root
        The project's folder, which its path starts from.

    Raises
    ------
    InputError
        If the file is missing, fails, or has no such function.
    """

    def __init__(self, train: TrainParams, root: Path) -> None:
        self._train = train
        self._name = str(train.loop)
        path, _, function = self._name.rpartition(":")
        self._loop: Loop = load_function(root / path, function, "train.loop")
        #: Is called with the seed before each slice. Generators that the function should not use
        #: follow from the seed all the same: what the check does not find does no harm.
        self.prepare: Callable[[int], None] = seed_all

    @property
    def name(self) -> str:
        """The function, as params.yaml names it."""
        return self._name

    def fit(self, state: bytes | None, rows: LoopRows, seed: int) -> bytes:
        """Return the state after a slice.

        Parameters
        ----------
        state
            The state after the slice before; None at the start.
        rows
            What the function gets of the slice.
        seed
            What all of its random numbers are to follow from.

        Raises
        ------
        InputError
            If it returns something else than a state of the network.
        """
        tensors = None
        if state is not None:
            tensors = {name: value.to(rows.device) for name, value in load_tensors(state).items()}
        self.prepare(seed)
        # A copy: what the function may write to it does not reach the next slice.
        found = self._loop(tensors, rows, seed, self._train.model_copy(deep=True))
        return self._state(found, rows.networks)

    def _state(self, found: Any, networks: Networks) -> bytes:
        """Return what the function returned as a file, after checks."""
        if not isinstance(found, Mapping):
            raise self._error(f"returns a {type(found).__name__} in place of named tensors")
        for name, value in found.items():
            if not isinstance(name, str) or name in ("", _RESERVED):
                raise self._error("returns a tensor whose name is no text, or reserved")
            if not isinstance(value, torch.Tensor):
                raise self._error(f"returns a {type(value).__name__} as {name!r}, not a tensor")
            if value.layout != torch.strided or value.is_quantized or value.is_meta:
                raise self._error(f"returns {name!r} as a tensor that is not dense")
        self._check_weights(found, networks.weights)
        # Cloned: tied weights share memory, which safetensors refuses.
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}
        try:
            return save_tensors(tensors)
        except (SafetensorError, ValueError, KeyError) as error:
            raise self._error(
                "returns a tensor of a type that no safetensors file can hold"
            ) from error

    def _check_weights(self, found: Mapping[str, torch.Tensor], wanted: Tensors) -> None:
        """Make sure that the weights are those of the network, by name, shape and type."""
        own = {name.removeprefix(WEIGHTS) for name in found if name.startswith(WEIGHTS)}
        hint = "`rows.snapshot(network, optimizer)` returns a state with all of them"
        if missing := sorted(wanted.keys() - own):
            raise self._error(f"does not return {WEIGHTS}{missing[0]}", hint)
        if unknown := sorted(own - wanted.keys()):
            raise self._error(
                f"returns {WEIGHTS}{unknown[0]}, which the network does not have",
                f"names that begin with {WEIGHTS!r} are those of the network's state_dict",
            )
        for name, value in wanted.items():
            given = found[WEIGHTS + name]
            if given.shape != value.shape or given.dtype != value.dtype:
                raise self._error(
                    f"returns {WEIGHTS}{name} as {_kind(given)}; the network has {_kind(value)}"
                )

    def _error(self, what: str, *hints: str) -> InputError:
        return InputError(f"train.loop: {self._name} {what}", *hints)


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
