"""Random Fourier features in integers.

Source: Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", NIPS 2007. A feature is
cos(w x + b), with w from a normal distribution and b uniform, both drawn from the key. The kernel
that they approximate is exp(-|bandwidth (x - y)|^2 / 2). All angles are integers and the cosine is
a table, so the features are the same on every processor.
"""

from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.draws import below, secret_words, words_of
from unlearn.stages.estimators.row_sets.integer_sums import Floats, Integers
from unlearn.stages.rows.tokens import Key

#: Inputs and cosines are multiples of 1 / SCALE, between -1 and 1.
SCALE = 4096

#: Entries of the table of cosines: angles of one full turn.
_ANGLES = 4096

#: Parts of a full turn, as a power of 2; an angle is such a number of parts.
_TURN_BITS = 44

#: Uniform numbers whose sum is nearly normal, with variance 1, and their bits.
_UNIFORMS, _UNIFORM_BITS = 12, 16

_PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def draw_frequencies(
    key: Key, purpose: str, shape: tuple[int, int], bandwidth: float
) -> tuple[Integers, Integers]:
    """Draw the frequencies and the phases of features.

    Parameters
    ----------
    key, purpose
        What they are drawn from.
    shape
        Number of inputs, and of features.
    bandwidth
        Factor of the frequencies; greater ones tell nearer rows apart.

    Returns
    -------
    frequencies, phases
        Shapes (inputs, features) and (features,). `inputs * SCALE @ frequencies + phases` are
        angles.
    """
    inputs, features = shape
    states = secret_words(key, features, purpose)
    numbers = np.arange(1, inputs * _UNIFORMS + 1, dtype=np.uint64)
    uniforms = below(words_of(states[:, None], numbers), 1 << _UNIFORM_BITS).astype(np.int64)
    sums = uniforms.reshape(features, inputs, _UNIFORMS).sum(axis=2)
    normals = sums.T - _UNIFORMS * ((1 << _UNIFORM_BITS) - 1) // 2  # in 2**-16
    factor = Decimal(bandwidth) / (2 * _PI) * 2**_TURN_BITS / SCALE / 2**_UNIFORM_BITS
    phases = (words_of(states, inputs * _UNIFORMS + 1) >> np.uint64(64 - _TURN_BITS)).astype(
        np.int64
    )
    return normals * int(factor), phases


def cosines(inputs: Floats, frequencies: Integers, phases: Integers) -> Floats:
    """Return features of rows, times SCALE: integers in float64, shape (rows, features).

    Parameters
    ----------
    inputs
        Integers from -SCALE to SCALE, shape (rows, inputs).
    frequencies, phases
        What `draw_frequencies` returned.
    """
    # Two halves of the frequencies, since the whole products do not fit into 53 bits.
    high, low = frequencies >> 16, frequencies & 0xFFFF
    turns = (inputs @ high.astype(np.float64)).astype(np.int64) << 16
    turns += (inputs @ low.astype(np.float64)).astype(np.int64)
    turns += phases
    index = (turns >> (_TURN_BITS - 12)) & (_ANGLES - 1)
    found: Floats = _table()[index]
    return found


def table_of_cosines() -> tuple[npt.NDArray[np.float64], int]:
    """Return the cosines of all angles, times SCALE, and the bits of a turn below an angle."""
    return _table(), _TURN_BITS - (_ANGLES.bit_length() - 1)


@cache
def _table() -> npt.NDArray[np.float64]:
    """Return the cosines of all angles, times SCALE and rounded, by exact decimal arithmetic."""
    with localcontext() as context:
        context.prec = 50
        quarter = [
            int((SCALE * _cosine(2 * _PI * number / _ANGLES)).to_integral_value())
            for number in range(_ANGLES // 4 + 1)
        ]
    half = quarter + [-value for value in quarter[-2::-1]]
    return np.array(half + half[-2:0:-1], np.float64)


def _cosine(angle: Decimal) -> Decimal:
    total = term = Decimal(1)
    for number in range(2, 60, 2):
        term *= -angle * angle / (number * (number - 1))
        total += term
    return total
