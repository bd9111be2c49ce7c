"""How many rows, or people, share each value of a column: which values may be categories."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.columns.distinct_values import DistinctValues
from unlearn.stages.reading.spelling import folded_text
from unlearn.stages.rows.ids import fold

#: Different values that are counted in a column. Later ones count as rare.
MAX_COUNTED = 10_000

#: Batches whose counts are added up at once: to look values up among many takes as long for few.
_BATCHES = 8

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
    _is_cut: bool = False
    _waiting: list[DistinctValues] = field(default_factory=list)

    def see(self, values: DistinctValues, people: _Hashes | None) -> None:
        """Take a batch into account.

        Parameters
        ----------
        values
            Missing values count as none.
        people
            What `hash_people` returns for the rows; None where rows name no people.
        """
        if people is None:
            self._waiting.append(values)
            if len(self._waiting) == _BATCHES:
                self._add_up()
            return
        places = self._add(values.texts, values.counts)
        place = np.append(places, -1)[values.places]
        known = place >= 0
        # People need to be told apart only as long as a value is not shared.
        place, people = place[known], people[known]
        undecided = self._people[place] < self.enough
        if undecided.any():
            self._take_people(place[undecided], people[undecided])

    def _add_up(self) -> None:
        """Count the batches that were kept until there were some of them."""
        if not self._waiting:
            return
        texts = pa.concat_arrays([values.texts for values in self._waiting]).dictionary_encode()
        counts = np.concatenate([values.counts for values in self._waiting])
        # Exact: these floats are whole numbers far below 2^53.
        rows = np.bincount(texts.indices.to_numpy(), counts, len(texts.dictionary))
        self._waiting.clear()
        self._add(texts.dictionary, rows.astype(np.int64))
        self._people = self._rows

    def _add(self, texts: pa.Array, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Add to the rows of different texts; return their places, -1 where one is not counted."""
        places = pc.index_in(texts, self._values)
        new = texts.filter(pc.is_null(places))
        room = MAX_COUNTED - len(self._values)
        self._is_cut |= len(new) > room
        new = new.slice(0, room)
        if len(new):
            self._values = pa.concat_arrays([self._values, new])
            zeros = np.zeros(len(new), np.int64)
            self._rows = np.concatenate([self._rows, zeros])
            self._people = np.concatenate([self._people, zeros])
            places = pc.index_in(texts, self._values)
        found: npt.NDArray[np.int64] = pc.fill_null(places, -1).to_numpy().astype(np.int64)
        known = found >= 0
        self._rows[found[known]] += counts[known]
        return found

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
    def is_cut(self) -> bool:
        """Whether there were more different values than are counted."""
        self._add_up()
        return self._is_cut

    @property
    def different(self) -> int:
        """How many different values were counted."""
        self._add_up()
        return len(self._values)

    def shared(self, most: int) -> list[str]:
        """Return the values that enough rows, or people, share, in text order.

        Parameters
        ----------
        most
            How many at most: those of the most rows, and of equally many the first in text order.
        """
        self._add_up()
        texts = self._values.to_pylist()
        shared = [index for index in range(len(texts)) if self._people[index] >= self.enough]
        shared.sort(key=lambda index: (-self._rows[index], texts[index]))
        return sorted(texts[index] for index in shared[:most])

    def spellings(self) -> Iterator[tuple[dict[str, int], int, int]]:
        """Yield each group of values that differ only in case or outer spaces.

        Returns
        -------
        iterator of tuple
            The rows by value that enough rows, or people, share, of which there is one at least;
            how many other values the group has, and how many rows have these.
        """
        self._add_up()
        groups: dict[str, list[int]] = {}
        for index, text in enumerate(self._values.to_pylist()):
            groups.setdefault(folded_text(text), []).append(index)
        for group in groups.values():
            shared = [index for index in group if self._people[index] >= self.enough]
            if len(group) > 1 and shared:
                rows = {self._values[index].as_py(): int(self._rows[index]) for index in shared}
                rest = int(self._rows[group].sum()) - sum(rows.values())
                yield rows, len(group) - len(shared), rest

    @property
    def rows_shared(self) -> int:
        """How many rows have a value that enough rows, or people, share."""
        self._add_up()
        return int(self._rows[self._people >= self.enough].sum())

    @property
    def count_shared(self) -> int:
        """How many values enough rows, or people, share."""
        self._add_up()
        return int((self._people >= self.enough).sum())
