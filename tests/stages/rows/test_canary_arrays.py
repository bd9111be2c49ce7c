"""Pictures and tensors of canaries: noise around means, which every reader takes."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.records import RowPlace
from unlearn.stages.rows.array_features import ArrayFeature
from unlearn.stages.rows.arrays import array_column, column_bytes
from unlearn.stages.rows.canary_arrays import PixelSummary, TensorSummary

PLACE = RowPlace("canaries.csv", 1)


def draws(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def bytes_of(rows: np.ndarray) -> pa.ChunkedArray:
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return pa.chunked_array([array_column(flat.view(np.uint8))])


def read(kind: str, shape: tuple[int, ...], texts: list[str]) -> np.ndarray:
    """Return what a shard file would hold for texts, shape (rows, bytes)."""
    feature = ArrayFeature("a", kind, shape, False, PLACE, PictureFolder(None, None, "."))  # type: ignore[arg-type]
    return column_bytes(feature.typed(pa.chunked_array([texts])))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12), (4, 70, 33)])
def test_a_drawn_picture_has_the_pinned_shape_and_the_mean_colour(shape: tuple[int, ...]) -> None:
    summary = PixelSummary(shape)
    levels = np.linspace(60, 200, shape[0])[:, None, None]
    pixels = np.clip(draws().normal(levels, 20, (40, *shape)), 0, 255).astype(np.uint8)
    for part in (pixels[:7], pixels[7:]):
        summary.see(bytes_of(part))
    found = read("image", shape, [summary.draw(draws(seed), 10) for seed in range(20)])
    drawn = found.reshape(20, *shape)

    assert drawn.mean(axis=(0, 2, 3)) == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=3)
    assert len({each.tobytes() for each in drawn}) == 20


def test_pixels_of_few_rows_are_not_told() -> None:
    summary, nothing = PixelSummary((3, 8, 8)), PixelSummary((3, 8, 8))
    summary.see(bytes_of(np.full((9, 3, 8, 8), 3, np.uint8)))

    assert summary.draw(draws(), 10) == nothing.draw(draws(), 10)
    assert summary.draw(draws(), 9) != nothing.draw(draws(), 9)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_a_drawn_tensor_is_read_and_has_the_mean_of_all(rows: int, seed: int, cut: int) -> None:
    numbers = draws(seed).normal(5, 2, (rows, 2, 3)).astype("<f4")
    summary, at_once = TensorSummary((2, 3)), TensorSummary((2, 3))
    at_once.see(bytes_of(numbers))
    for part in (numbers[:cut], numbers[cut:]):
        if len(part):
            summary.see(bytes_of(part))
    drawn, other = (json.loads(each.draw(draws(seed), 1)) for each in (summary, at_once))
    found = read("tensor", (2, 3), [json.dumps(drawn)]).view("<f4")[0]

    assert drawn == pytest.approx(other, rel=1e-4, abs=1e-5)
    assert found == pytest.approx(drawn, rel=1e-6)


def test_tensors_of_texts_may_be_nested() -> None:
    found = read("tensor", (2, 2), ["[[1, 2], [3, 4.5]]", " [1,2,3,4.5] "])

    assert found.view("<f4").tolist() == [[1, 2, 3, 4.5]] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2", "no list of numbers"),
        ('["1", "2"]', "no list of numbers"),
        ("[[1, 2], [3]]", "no list of numbers"),
        ("7", "no list of numbers"),
        ("[" * 100_000, "no list of numbers"),
        ("{}", "no list of numbers"),
        ("[1, null]", "no list of numbers"),
        ("[1, 2, 3]", "arrays of 3, not 2"),
        ("[1, NaN]", "not finite"),
        ("[1, 1e300]", "not finite"),
    ],
)
def test_a_text_that_is_no_tensor_is_named_by_its_row(text: str, problem: str) -> None:
    with pytest.raises(InputError) as raised:
        read("tensor", (2,), ["[1, 2]", text])

    assert problem in raised.value.message
    assert len(raised.value.message) < 200
