"""How many rows, or people, share each value of a column: which values may be categories."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.rows.ids import fold

#: Different values that are counted in a column. Later ones count as rare.
MAX_COUNTED = 10_000

_Hashes = npt.NDArray[np.uint64]

#: Makes one number of a value's place and a person's hash, by multiplication modulo 2^64.
_ODD = np.uint64(0x9E3779B97F4A7C15)


def hash_people(people: pa.ChunkedArray) -> _Hashes:
    """Return a number for each row that rows of one person share, shape (rows,).

    Ids that are the same once folded count as one person, and so do two people whose hashes are
    equal by chance: too few people make a value rare, and too many would not.
    """
    encoded = pc.fill_null(people, "").combine_chunks().dictionary_encode()
    hashes = [hash(fold(text)) % 2**64 for text in encoded.dictionary.to_pylist()]
    found: _Hashes = np.array(hashes, np.uint64)[encoded.indices.to_numpy()]
    return found


@dataclass
class CategoryCounts:
    """Counts of one column's values, batch by batch, in bounded memory.

    Parameters
    ----------
    enough
        From so many rows, or people where rows name people, on a value is shared. Counts of shared
        values are of rows.
    """

    enough: int
    _values: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    _rows: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _people: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _pairs: _Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    _places: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    is_cut: bool = False

    def see(self, values: pa.ChunkedArray, people: _Hashes | None) -> None:
        """Take a batch into account.

        Parameters
        ----------
        values
            Text; missing values count as none.
        people
            What `hash_people` returns for the rows; None where rows name no people.
        """
        self._take_new(values)
        place = pc.fill_null(pc.index_in(values, self._values), -1).to_numpy()
        known = place >= 0
        self._rows += np.bincount(place[known], minlength=len(self._rows))
        if people is None:
            self._people = self._rows
            return
        # People need to be told apart only as long as a value is not shared.
        place, people = place[known], people[known]
        undecided = self._people[place] < self.enough
        if undecided.any():
            self._take_people(place[undecided], people[undecided])

    def _take_new(self, values: pa.ChunkedArray) -> None:
        found = pc.unique(values).drop_null()
        new = found.filter(pc.invert(pc.is_in(found, self._values)))
        room = MAX_COUNTED - len(self._values)
        self.is_cut |= len(new) > room
        new = new.slice(0, room)
        self._values = pa.concat_arrays([self._values, new])
        for name in ("_rows", "_people"):
            setattr(self, name, np.pad(getattr(self, name), (0, len(new))))

    def _take_people(self, place: npt.NDArray[np.int64], people: _Hashes) -> None:
        pairs, first = np.unique(people + place.astype(np.uint64) * _ODD, return_index=True)
        is_new = np.isin(pairs, self._pairs, invert=True)
        pairs, places = pairs[is_new], place[first][is_new]
        self._people += np.bincount(places, minlength=len(self._people))
        pairs = np.concatenate([self._pairs, pairs])
        places = np.concatenate([self._places, places])
        still = self._people[places] < self.enough
        self._pairs, self._places = pairs[still], places[still]

    @property
    def different(self) -> int:
        """How many different values were counted."""
        return len(self._values)

    def shared(self, most: int) -> list[str]:
        """Return the values that enough rows, or people, share, in text order.

        Parameters
        ----------
        most
            How many at most: those of the most rows, and of equally many the first in text order.
        """
        texts = self._values.to_pylist()
        shared = [index for index in range(len(texts)) if self._people[index] >= self.enough]
        shared.sort(key=lambda index: (-self._rows[index], texts[index]))
        return sorted(texts[index] for index in shared[:most])

    @property
    def rows_shared(self) -> int:
        """How many rows have a value that enough rows, or people, share."""
        return int(self._rows[self._people >= self.enough].sum())

    @property
    def count_shared(self) -> int:
        """How many values enough rows, or people, share."""
        return int((self._people >= self.enough).sum())
