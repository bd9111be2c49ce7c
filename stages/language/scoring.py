"""What a language model says of every token of its answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from unlearn.stages.language.sequences import Batch, Ints, Sequences

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Returns logits, or log-probabilities, of every next token: shape (sequences, length, vocabulary).
Forward = Callable[[torch.Tensor], torch.Tensor]

#: Sequences asked about at once.
BATCH = 16


@dataclass(frozen=True)
class TokenScores:
    """A model's answers, token by token, of one sequence after another.

    Parameters
    ----------
    logprobs
        Natural logarithm of the probability of each token that the loss counts, shape (tokens,).
    mean
        Expected log-probability of a token drawn there, sum_v p(v) log p(v), shape (tokens,).
    spread
        Its standard deviation, shape (tokens,).
    right
        Whether the token is the most probable one, shape (tokens,).
    ends
        Where each sequence ends among them, shape (sequences,).
    """

    logprobs: Floats
    mean: Floats
    spread: Floats
    right: Bools
    ends: Ints

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def slices(self) -> list[slice]:
        """Where each sequence's tokens are."""
        starts = np.concatenate([[0], self.ends[:-1]]).astype(np.int64)
        return [slice(int(a), int(b)) for a, b in zip(starts, self.ends, strict=True)]

    def by_row(self, rows: Ints, count: int) -> "TokenScores":
        """Return the scores of rows, each of which may be several sequences.

        Parameters
        ----------
        rows
            The row that each sequence comes from, ascending, shape (sequences,).
        count
            How many rows there are; every one has a sequence.
        """
        last = np.searchsorted(rows, np.arange(count), side="right") - 1
        return TokenScores(self.logprobs, self.mean, self.spread, self.right, self.ends[last])

    @property
    def finite(self) -> bool:
        """Whether all answers are numbers."""
        return bool(np.isfinite(self.logprobs).all())

    @property
    def mean_logprobs(self) -> Floats:
        """Mean log-probability of each sequence's tokens, shape (sequences,)."""
        return np.array([self.logprobs[part].mean() for part in self.slices], dtype=np.float64)


@dataclass(frozen=True)
class _Answered:
    """A batch's answers as arrays, and how many tokens each sequence has."""

    columns: tuple[Floats, Floats, Floats, Bools]
    sizes: Ints


def score(
    forward: Forward,
    sequences: Sequences,
    pad: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = BATCH,
) -> TokenScores:
    """Ask a model about sequences; see `TokenScores`.

    Parameters
    ----------
    forward
        The model.
    sequences
        What to ask about.
    pad
        A token to fill up with.
    device
        Where the model is.
    batch
        Sequences at once.
    """
    found: list[tuple[Floats, Floats, Floats, Bools]] = [_EMPTY] * len(sequences)
    with torch.inference_mode():
        for indices, padded in sequences.batches(batch, pad, device):
            answered = _answer(forward, padded)
            ends = np.cumsum(answered.sizes)
            for place, index in enumerate(indices):
                part = slice(int(ends[place] - answered.sizes[place]), int(ends[place]))
                one, two, three, four = answered.columns
                found[int(index)] = (one[part], two[part], three[part], four[part])
    return joined(found)


def joined(found: Sequence[tuple[Floats, Floats, Floats, Bools]]) -> TokenScores:
    """Return scores from the columns of each sequence."""
    sizes = [len(columns[0]) for columns in found]
    one, two, three, four = zip(*found, strict=True) if found else ((), (), (), ())
    return TokenScores(
        np.concatenate([np.zeros(0), *one]),
        np.concatenate([np.zeros(0), *two]),
        np.concatenate([np.zeros(0), *three]),
        np.concatenate([np.zeros(0, dtype=np.bool_), *four]),
        np.cumsum(sizes, dtype=np.int64),
    )


_EMPTY = (np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.bool_))


def _answer(forward: Forward, batch: Batch) -> _Answered:
    counted, targets = batch.counted, batch.targets
    # Only where an answer's token is predicted: the others would cost as much again.
    logits = forward(batch.inputs)[:, :-1][counted].float()
    logs = torch.log_softmax(logits, dim=-1)
    probabilities = logs.exp()
    # 0 * -inf is no number, and counts nothing.
    weighted = torch.where(probabilities > 0, probabilities * logs, 0.0)
    mean = weighted.double().sum(dim=-1)
    squares = torch.where(probabilities > 0, weighted * logs, 0.0).double().sum(dim=-1)
    spread = (squares - mean**2).clamp_min(0.0).sqrt()
    own = logs.gather(1, targets[:, None])[:, 0].double()
    right = logs.argmax(dim=-1) == targets
    columns = (own, mean, spread, right)
    one, two, three, four = (column.cpu().numpy() for column in columns)
    return _Answered((one, two, three, four), counted.sum(dim=1).cpu().numpy().astype(np.int64))
