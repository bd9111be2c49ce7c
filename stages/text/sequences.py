"""Token sequences of different lengths, one behind the other, and batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: A label that no loss counts, as everywhere in PyTorch.
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Sequences padded on the right to the longest of them.

    No mask of attention goes with it: in a causal model nothing that comes later, padding included,
    reaches an earlier token, and padding has no labels.

    Parameters
    ----------
    inputs
        Tokens, shape (sequences, length).
    labels
        The same tokens where the loss counts them, else -100; not shifted; same shape.
    """

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def counted(self) -> torch.Tensor:
        """Which positions predict a token that the loss counts, shape (sequences, length - 1)."""
        return self.labels[:, 1:] != IGNORED

    @property
    def targets(self) -> torch.Tensor:
        """The tokens that the loss counts, in order, shape (tokens,)."""
        return self.labels[:, 1:][self.counted]

    def pieces(self, count: int) -> Iterator["Batch"]:
        """Yield the batch in at most this number of parts of about equal size."""
        size = -(-len(self) // count)
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Batch(self.inputs[part], self.labels[part])


@dataclass(frozen=True)
class Sequences:
    """Token sequences, ragged.

    Parameters
    ----------
    tokens
        Of all sequences, one behind the other, shape (tokens,).
    ends
        Where each sequence ends, shape (sequences,).
    answers
        Within each sequence, the first token that the loss counts; at least 1, since nothing
        predicts a first token; shape (sequences,).
    rows
        The row of a table that each comes from, shape (sequences,).
    counts
        Which tokens the loss counts, shape (tokens,): those of several answers in one sequence.
        None where it counts all from the first one on.
    """

    tokens: Ints
    ends: Ints
    answers: Ints
    rows: Ints
    counts: Bools | None = None

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> Ints:
        """Tokens of each sequence, shape (sequences,)."""
        return np.diff(self.ends, prepend=0)

    @property
    def counted(self) -> Ints:
        """Tokens of each sequence that the loss counts, shape (sequences,)."""
        if self.counts is None:
            return self.lengths - self.answers
        return np.diff(np.concatenate([[0], np.cumsum(self.counts)])[self.ends], prepend=0)

    def sequence(self, index: int) -> Ints:
        """Return the tokens of one sequence."""
        return self.tokens[self._place(index)]

    def counts_of(self, index: int) -> Bools:
        """Return which tokens of one sequence the loss counts."""
        place = self._place(index)
        if self.counts is not None:
            return self.counts[place]
        counts: Bools = np.arange(place.stop - place.start) >= self.answers[index]
        return counts

    def _place(self, index: int) -> slice:
        """Return where the tokens of one sequence are; not by all lengths, which takes longer."""
        at = range(len(self))[index]
        return slice(int(self.ends[at - 1]) if at else 0, int(self.ends[at]))

    def take(self, indices: Sequence[int] | Ints) -> "Sequences":
        """Return these sequences, in this order."""
        at = np.asarray(indices, dtype=np.int64)
        parts = [self.sequence(int(index)) for index in at]
        return Sequences(
            np.concatenate([np.zeros(0, dtype=np.int64), *parts]),
            np.cumsum([len(part) for part in parts], dtype=np.int64),
            self.answers[at],
            self.rows[at],
            None
            if self.counts is None
            else np.concatenate([np.zeros(0, bool), *(self.counts_of(int(i)) for i in at)]),
        )

    def followed_by(self, others: "Sequences") -> "Sequences":
        """Return these sequences and others behind them; each keeps the row that it names."""
        return Sequences(
            np.concatenate([self.tokens, others.tokens]),
            np.concatenate([self.ends, others.ends + len(self.tokens)]),
            np.concatenate([self.answers, others.answers]),
            np.concatenate([self.rows, others.rows]),
            None
            if self.counts is None and others.counts is None
            else np.concatenate([self.all_counts(), others.all_counts()]),
        )

    def all_counts(self) -> Bools:
        """Return which tokens the loss counts, shape (tokens,)."""
        if self.counts is not None:
            return self.counts
        return np.concatenate(
            [np.zeros(0, bool), *(self.counts_of(index) for index in range(len(self)))]
        )

    def first(self, count: int) -> "Sequences":
        """Return the first sequences."""
        end = int(self.ends[count - 1]) if count else 0
        return Sequences(
            self.tokens[:end],
            self.ends[:count],
            self.answers[:count],
            self.rows[:count],
            None if self.counts is None else self.counts[:end],
        )

    def batch(
        self, indices: Sequence[int] | Ints, pad: int, device: torch.device | str = "cpu"
    ) -> Batch:
        """Return a padded batch.

        Parameters
        ----------
        indices
            Which sequences.
        pad
            The padding after a shorter sequence.
        device
            Where it is to be.
        """
        lengths = self.lengths[np.asarray(indices, dtype=np.int64)]
        inputs = np.full((len(lengths), int(lengths.max(initial=1))), pad, dtype=np.int64)
        labels = np.full_like(inputs, IGNORED)
        for place, index in enumerate(indices):
            tokens = self.sequence(int(index))
            inputs[place, : len(tokens)] = tokens
            start = int(self.answers[index])
            labels[place, start : len(tokens)] = tokens[start:]
            if self.counts is not None:
                labels[place, : len(tokens)][~self.counts_of(int(index))] = IGNORED
        return Batch(torch.from_numpy(inputs).to(device), torch.from_numpy(labels).to(device))

    def batches(
        self, size: int, pad: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Ints, Batch]]:
        """Yield all sequences in batches of about equal length, with their indices.

        Sorted by length, so that little is computed on padding.
        """
        order = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield part, self.batch(part, pad, device)


def ragged(
    parts: Sequence[Sequence[int]],
    answers: Sequence[int],
    rows: Sequence[int],
    counts: Sequence[Bools] | None = None,
) -> Sequences:
    """Return sequences from lists of tokens, and of whether these count; see `Sequences`."""
    return Sequences(
        np.array([token for part in parts for token in part], dtype=np.int64),
        np.cumsum([len(part) for part in parts], dtype=np.int64),
        np.array(answers, dtype=np.int64),
        np.array(rows, dtype=np.int64),
        None if counts is None else np.concatenate([np.zeros(0, bool), *counts]),
    )
