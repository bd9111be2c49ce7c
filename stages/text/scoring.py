"""What a language model says of every token of its answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from unlearn.stages.text.sequences import Batch, Ints, Sequences

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Returns logits, or log-probabilities, of every next token: shape (sequences, length, vocabulary).
Forward = Callable[[torch.Tensor], torch.Tensor]

#: Sequences per batch.
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
        starts = np.concatenate([[0], self.ends]).astype(np.int64)[:-1]
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


#: The columns of `TokenScores`, of some tokens.
Columns = tuple[Floats, Floats, Floats, Bools]

#: The columns of no tokens.
NOTHING: Columns = (np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.bool_))


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
    found: list[Columns] = [NOTHING] * len(sequences)
    with torch.inference_mode():
        for indices, padded in sequences.batches(batch, pad, device):
            # Only where an answer's token is predicted: the others would cost as much again.
            logits = forward(padded.inputs)[:, :-1][padded.counted]
            put_apart(found, indices, padded, columns_of(logits, padded.targets))
    return joined(found)


def put_apart(found: list[Columns], indices: Ints, batch: Batch, columns: Columns) -> None:
    """Put the columns of a batch's tokens where each of its sequences has its place.

    Parameters
    ----------
    found
        Columns by sequence; the batch's are put among them.
    indices, batch
        As `Sequences.batches` gave them.
    columns
        Of all tokens that the batch's loss counts, in order.
    """
    sizes = batch.counted.sum(dim=1).cpu().numpy()
    ends = np.cumsum(sizes)
    one, two, three, four = columns
    for place, index in enumerate(indices):
        part = slice(int(ends[place] - sizes[place]), int(ends[place]))
        found[int(index)] = (one[part], two[part], three[part], four[part])


def joined(found: Sequence[Columns]) -> TokenScores:
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


def of_members(members: Sequence[TokenScores], chosen: Ints) -> TokenScores:
    """Return for each sequence the scores of the member that was chosen for it.

    Parameters
    ----------
    members
        Each member's scores of the same sequences.
    chosen
        A member for every sequence, shape (sequences,).
    """
    parts = members[0].slices
    found = []
    for part, number in zip(parts, chosen, strict=True):
        of = members[int(number)]
        found.append((of.logprobs[part], of.mean[part], of.spread[part], of.right[part]))
    return joined(found)


def columns_of(logits: torch.Tensor, targets: torch.Tensor) -> Columns:
    """Return what answers say of tokens: the columns of `TokenScores`.

    Parameters
    ----------
    logits
        Where each token is predicted, shape (tokens, vocabulary); not normalised.
    targets
        The tokens, shape (tokens,).
    """
    logs = torch.log_softmax(logits.float(), dim=-1)
    probabilities = logs.exp()
    # 0 * -inf is no number, and counts nothing.
    weighted = torch.where(probabilities > 0, probabilities * logs, 0.0)
    mean = weighted.double().sum(dim=-1)
    squares = torch.where(probabilities > 0, weighted * logs, 0.0).double().sum(dim=-1)
    spread = (squares - mean**2).clamp_min(0.0).sqrt()
    own = logs.gather(1, targets[:, None])[:, 0].double()
    right = logs.argmax(dim=-1) == targets
    one, two, three, four = (column.cpu().numpy() for column in (own, mean, spread, right))
    return one, two, three, four
