"""Mixup: the rows of a batch in pairs (Zhang et al., "mixup", ICLR 2018).

What a row becomes depends on the other rows of its batch, and so on no row outside the slice's
union. It is drawn again for each step, from the step's seed.
"""

from dataclasses import dataclass

import numpy as np
import torch
from unlearn.stages.estimators.packing import Packing

#: Pixels are mixed in parts of this.
_PARTS = 1 << 16


@dataclass(frozen=True)
class Mixed:
    """A batch whose rows are mixed with those of its partners.

    Parameters
    ----------
    batch
        Packed rows, shape (rows, bytes), uint8.
    partners
        The row that each row is mixed with, shape (rows,), int64.
    share
        How much of each row is its own, from 0 to 1.
    """

    batch: torch.Tensor
    partners: torch.Tensor
    share: float

    def loss(self, own: torch.Tensor, of_partners: torch.Tensor) -> torch.Tensor:
        """Return the losses of both targets, mixed as the rows are.

        Parameters
        ----------
        own, of_partners
            Losses by the rows' own targets, and by those of their partners, shape (rows,) or ().
        """
        return self.share * own + (1 - self.share) * of_partners


def mix_rows(batch: torch.Tensor, packing: Packing, alpha: float, seed: int) -> Mixed:
    """Mix the rows of a batch with a permutation of them, all in one proportion.

    Pixels are mixed in integers and rounded; other numbers as float32.

    Parameters
    ----------
    batch
        Packed rows, shape (rows, bytes), uint8.
    packing
        What the bytes are.
    alpha
        Parameter of the Beta distribution of the proportion, above 0.
    seed
        The step's seed.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    own = int(draw.beta(alpha, alpha) * _PARTS + 0.5)
    partners = torch.from_numpy(draw.permutation(len(batch))).to(batch.device)
    others = batch[partners]
    pieces = []
    for part in packing.parts:
        one, other = batch[:, part.start : part.end], others[:, part.start : part.end]
        if part.kind == "image":
            total = one.to(torch.int32) * own + other.to(torch.int32) * (_PARTS - own)
            pieces.append(((total + _PARTS // 2) >> 16).to(torch.uint8))
        else:
            one, other = (piece.contiguous().view(torch.float32) for piece in (one, other))
            share = own / _PARTS
            pieces.append((share * one + (1 - share) * other).view(torch.uint8))
    return Mixed(torch.cat(pieces, 1), partners, own / _PARTS)
