"""The made-up pictures of `init --example shapes`."""

import csv
import io

import numpy as np
import pytest
from PIL import Image
from unlearn.cli.examples.shapes import (
    CLASSES,
    EACH,
    LABELS,
    PEOPLE,
    PICTURE,
    SIZE,
    draw_shapes,
    shapes_files,
)
from unlearn.stages.reading.png import png_bytes


def test_the_same_seed_draws_the_same_pictures_and_another_one_draws_others() -> None:
    first, again, other = (draw_shapes(3, 5, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.pixels, other.pixels)


def test_every_row_of_the_table_names_a_picture_and_every_picture_has_a_row() -> None:
    files = dict(shapes_files())
    rows = list(csv.DictReader(io.StringIO(files.pop(LABELS).decode())))

    assert [row[PICTURE] for row in rows] == list(files)
    assert len(files) == PEOPLE * EACH
    assert len({row["id"] for row in rows}) == len(rows)
    assert {row["shape"] for row in rows} == set(CLASSES)
    assert len({row["person"] for row in rows}) == PEOPLE


def test_a_png_holds_the_pixels_that_were_drawn() -> None:
    pixels = draw_shapes(1, 1).pixels[0]
    with Image.open(io.BytesIO(next(shapes_files())[1])) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture).transpose(2, 0, 1).shape, (3, SIZE, SIZE))
    with Image.open(io.BytesIO(png_bytes(pixels))) as picture:
        assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("level", [0, 9])
def test_pillow_reads_a_png_of_any_number_of_channels(channels: int, level: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 5, 7)).astype(np.uint8)
    with Image.open(io.BytesIO(png_bytes(pixels, level=level))) as picture:
        found = np.asarray(picture).reshape(5, 7, channels).transpose(2, 0, 1)

    assert np.array_equal(found, pixels)


def test_a_png_has_one_three_or_four_channels() -> None:
    with pytest.raises(ValueError, match="not 2"):
        png_bytes(np.zeros((2, 4, 4), dtype=np.uint8))


def test_a_person_is_told_by_their_handwriting() -> None:
    """Pictures of one person are nearer to each other in colour than to those of others."""
    shapes = draw_shapes(20, 30)
    # Of the coloured pixels: how much red, green and blue differ from grey.
    colours = shapes.pixels.astype(float) - shapes.pixels.mean(axis=1, keepdims=True)
    means = colours.mean(axis=(2, 3))
    half = np.tile(np.arange(30) < 15, 20)
    centres = np.stack([means[half & (shapes.people == p)].mean(axis=0) for p in range(20)])
    apart = np.linalg.norm(means[~half][:, None] - centres[None], axis=2)

    assert np.mean(apart.argmin(axis=1) == shapes.people[~half]) > 0.2  # by chance: .05
