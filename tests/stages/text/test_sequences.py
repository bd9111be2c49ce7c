"""Ragged sequences, and batches whose padding changes nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.text.sequences import IGNORED, Batch, Sequences, ragged

PARTS = [[5, 6, 7], [8, 9], [1, 2, 3, 4, 5]]
SEQUENCES = ragged(PARTS, [1, 1, 3], [0, 0, 1])

parts_of_tokens = st.lists(st.lists(st.integers(0, 99), min_size=2, max_size=9), max_size=12)


def sequences_of(parts: list[list[int]]) -> Sequences:
    return ragged(parts, [1 + len(part) % 2 for part in parts], list(range(len(parts))))


def test_sequences_stand_one_behind_the_other() -> None:
    assert SEQUENCES.tokens.tolist() == [5, 6, 7, 8, 9, 1, 2, 3, 4, 5]
    assert SEQUENCES.ends.tolist() == [3, 5, 10]
    assert SEQUENCES.lengths.tolist() == [3, 2, 5]
    assert SEQUENCES.counted.tolist() == [2, 1, 2]
    assert [SEQUENCES.sequence(number).tolist() for number in range(3)] == PARTS


def test_a_batch_has_labels_where_an_answer_stands_and_nowhere_else() -> None:
    batch = SEQUENCES.batch([2, 1], pad=77)

    assert batch.inputs.tolist() == [[1, 2, 3, 4, 5], [8, 9, 77, 77, 77]]
    assert batch.labels.tolist() == [
        [IGNORED, IGNORED, IGNORED, 4, 5],
        [IGNORED, 9, IGNORED, IGNORED, IGNORED],
    ]
    assert batch.counted.tolist() == [[False, False, True, True], [True, False, False, False]]
    assert batch.targets.tolist() == [4, 5, 9]


def test_a_token_like_the_padding_keeps_its_label() -> None:
    batch = SEQUENCES.batch([0, 2], pad=7)

    assert batch.labels[0].tolist() == [IGNORED, 6, 7, IGNORED, IGNORED]


@given(parts_of_tokens)
def test_labels_are_counted_tokens(parts: list[list[int]]) -> None:
    sequences = sequences_of(parts)
    batch = sequences.batch(range(len(parts)), pad=0)

    assert batch.counted.sum(dim=1).tolist() == sequences.counted.tolist()
    assert batch.targets.tolist() == [
        token for part in parts for token in part[1 + len(part) % 2 :]
    ]


@given(parts_of_tokens, st.integers(1, 7))
def test_batches_meet_every_sequence_once(parts: list[list[int]], size: int) -> None:
    sequences = sequences_of(parts)
    met: list[int] = []
    for indices, batch in sequences.batches(size, pad=0):
        assert 0 < len(indices) == len(batch) <= size
        assert batch.inputs.shape[1] == max(len(parts[int(index)]) for index in indices)
        met += indices.tolist()

    assert sorted(met) == list(range(len(parts)))
    lengths = [len(parts[index]) for index in met]
    assert lengths == sorted(lengths)


@given(parts_of_tokens, st.data())
def test_taken_sequences_are_those_that_were_named(
    parts: list[list[int]], data: st.DataObject
) -> None:
    sequences = sequences_of(parts)
    wanted = data.draw(st.lists(st.sampled_from(range(len(parts))), max_size=6)) if parts else []
    taken = sequences.take(wanted)

    assert [taken.sequence(number).tolist() for number in range(len(wanted))] == [
        parts[index] for index in wanted
    ]
    assert taken.rows.tolist() == wanted
    assert taken.answers.tolist() == [int(sequences.answers[index]) for index in wanted]


@given(parts_of_tokens)
def test_the_first_sequences_are_those_taken_by_number(parts: list[list[int]]) -> None:
    sequences = sequences_of(parts)
    for count in range(len(parts) + 1):
        first, taken = sequences.first(count), sequences.take(range(count))
        for name in ("tokens", "ends", "answers", "rows"):
            assert np.array_equal(getattr(first, name), getattr(taken, name)), name


@pytest.mark.parametrize(("count", "sizes"), [(1, [5]), (2, [3, 2]), (4, [2, 2, 1]), (9, [1] * 5)])
def test_pieces_of_a_batch_are_the_batch(count: int, sizes: list[int]) -> None:
    batch = ragged([[1, 2, 3]] * 4 + [[4, 5]], [1] * 5, list(range(5))).batch(range(5), pad=0)
    pieces = list(batch.pieces(count))

    assert [len(piece) for piece in pieces] == sizes
    assert len(pieces) <= count
    assert torch.equal(torch.cat([piece.inputs for piece in pieces]), batch.inputs)
    assert torch.equal(torch.cat([piece.targets for piece in pieces]), batch.targets)


def test_no_sequences_are_an_empty_batch() -> None:
    empty = ragged([], [], [])

    assert len(empty) == len(empty.take([])) == len(empty.first(0)) == 0
    assert list(empty.batches(4, pad=0)) == []
    assert isinstance(empty.batch([], pad=0), Batch)
    assert len(empty.batch([], pad=0)) == 0
