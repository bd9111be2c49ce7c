"""Made-up pictures: shapes that people drew, each in a handwriting of their own.

A person's line width, tilt, wobble and favourite colour are in all of their pictures, as a
handwriting is: who drew a picture can be learned from it, and what it shows as well.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from unlearn.stages.reading.png import Pixels, png_bytes

#: Where the dataset is in a project, and the table of labels in it.
SHAPES_PATH: Final = "data/shapes"
LABELS: Final = "labels.csv"

#: Columns of the table of labels.
ID, PICTURE, TARGET, PERSON = "id", "picture", "shape", "person"

CLASSES: Final = ("bars", "circle", "cross", "square", "star", "triangle")

PEOPLE: Final = 80
EACH: Final = 40
SIZE: Final = 16

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Ends of what a person's handwriting is drawn from. Lengths are in halves of a picture.
_LINE, _TILT, _WOBBLE = (0.08, 0.18), (-0.35, 0.35), (0.0, 0.08)
#: How much the pictures of one person differ: standard deviations.
_TILTS, _HUES = 0.12, 0.04
_SIZES, _SHIFT = (0.6, 0.8), 0.15
#: Standard deviation of the noise of pixels, in shares of the range.
_NOISE = 0.08
#: Share of the labels that are wrong, as in collected data: a model can only know them by heart.
_MISTAKES = 0.03
_WAVES = 3
_POINTS = 5
#: How near to each other the lightness of ink and of paper may be.
_PAPER, _INK = (0.6, 1.0), (0.15, 0.6)


@dataclass(frozen=True)
class Shapes:
    """Pictures with what they show and who drew them.

    Attributes
    ----------
    pixels
        Shape (pictures, 3, size, size).
    labels
        Places in `CLASSES`, shape (pictures,).
    people
        Numbers of people, from 0, shape (pictures,).
    """

    pixels: Pixels
    labels: Integers
    people: Integers

    def __len__(self) -> int:
        return len(self.labels)


def draw_shapes(
    people: int = PEOPLE, each: int = EACH, *, size: int = SIZE, seed: int = 1
) -> Shapes:
    """Draw pictures.

    Parameters
    ----------
    people, each
        How many people, and how many pictures each of them draws.
    size
        Height and width in pixels.
    seed
        All draws follow from it.

    Returns
    -------
    Shapes
        The pictures of the first person, then those of the second, and so on.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    count = people * each
    strokes = _strokes(random, people, each)
    labels = random.integers(len(CLASSES), size=count)
    ink = _ink(strokes, labels, size)
    paper = random.uniform(*_PAPER, size=count)
    colours = _colours(strokes.hue, random.uniform(*_INK, size=count))
    light = paper[:, None, None, None] * (1 - ink[:, None]) + (
        colours[:, :, None, None] * ink[:, None]
    )
    noisy = light + _NOISE * random.standard_normal(light.shape)
    pixels = np.clip(np.rint(noisy * 255), 0, 255).astype(np.uint8)
    wrong = random.random(count) < _MISTAKES
    labels[wrong] = random.integers(len(CLASSES), size=int(wrong.sum()))
    return Shapes(pixels, labels, np.repeat(np.arange(people), each))


def shapes_files() -> Iterator[tuple[str, bytes]]:
    """Yield the files of the dataset: name in its folder, and content.

    The table of labels is the last one.
    """
    shapes = draw_shapes()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([ID, PICTURE, TARGET, PERSON])
    for number, pixels in enumerate(shapes.pixels):
        name = f"pictures/{number:05d}.png"
        yield name, png_bytes(pixels)
        label, person = CLASSES[shapes.labels[number]], f"P{shapes.people[number]:03d}"
        writer.writerow([f"S{number:05d}", name, label, person])
    yield LABELS, text.getvalue().encode()


@dataclass(frozen=True)
class _Strokes:
    """How each picture is drawn; every field has the shape (pictures,)."""

    line: Floats
    tilt: Floats
    wobble: Floats
    phase: Floats
    hue: Floats
    radius: Floats
    across: Floats
    down: Floats


def _strokes(random: np.random.Generator, people: int, each: int) -> _Strokes:
    """Draw the handwriting of each person, and from it how their pictures are drawn."""
    count = people * each

    def of_people(low: float, high: float) -> Floats:
        return np.repeat(random.uniform(low, high, size=people), each)

    strokes = _Strokes(
        line=of_people(*_LINE),
        tilt=of_people(*_TILT),
        wobble=of_people(*_WOBBLE),
        phase=of_people(0, 2 * np.pi),
        hue=of_people(0, 1),
        radius=random.uniform(*_SIZES, size=count),
        across=random.uniform(-_SHIFT, _SHIFT, size=count),
        down=random.uniform(-_SHIFT, _SHIFT, size=count),
    )
    return replace(
        strokes,
        tilt=strokes.tilt + _TILTS * random.standard_normal(count),
        hue=(strokes.hue + _HUES * random.standard_normal(count)) % 1.0,
    )


def _ink(strokes: _Strokes, labels: Integers, size: int) -> Floats:
    """Return how much ink is on each pixel, from 0 to 1, shape (pictures, size, size)."""
    places = (np.arange(size) + 0.5) / size * 2 - 1

    def wide(values: Floats) -> Floats:
        return values[:, None, None]

    across = places[None, None, :] - wide(strokes.across)
    down = places[None, :, None] - wide(strokes.down)
    cosine, sine = wide(np.cos(strokes.tilt)), wide(np.sin(strokes.tilt))
    x, y = across * cosine + down * sine, down * cosine - across * sine
    angle = np.arctan2(y, x)
    waves = 1 + wide(strokes.wobble) * np.sin(_WAVES * angle + wide(strokes.phase))
    scale = wide(strokes.radius) * waves
    x, y = x / scale, y / scale
    distance = np.empty(x.shape)
    for place, name in enumerate(CLASSES):
        of_class = labels == place
        distance[of_class] = _distance(name, x[of_class], y[of_class])
    # The edge of a line is as soft as a pixel is wide.
    soft = 2 / size
    inside = wide(strokes.line) - distance * wide(strokes.radius)
    ink: Floats = np.clip(0.5 + inside / soft, 0, 1)
    return ink


def _distance(name: str, x: Floats, y: Floats) -> Floats:
    """Return how far places are from the line of a shape whose radius is about 1."""
    if name == "cross":
        distance: Floats = np.minimum(_to_line(x, y), _to_line(y, x))
    elif name == "bars":
        distance = np.minimum(_to_line(x, y - 0.6), _to_line(x, y + 0.6))
    elif name == "circle":
        distance = np.abs(np.hypot(x, y) - 1)
    elif name == "star":
        points = np.cos(_POINTS * (np.arctan2(y, x) + np.pi / 2))
        distance = np.abs(np.hypot(x, y) - 0.8 - 0.3 * points) * 0.8
    else:
        corners, inner = (3, 0.6) if name == "triangle" else (4, 0.85)
        turns = np.pi / 2 + 2 * np.pi * np.arange(corners) / corners
        sides = [x * np.cos(turn) + y * np.sin(turn) for turn in turns]
        distance = np.abs(np.max(sides, axis=0) - inner)
    return distance


def _to_line(along: Floats, beside: Floats) -> Floats:
    """Return how far places are from a line that is 2 long."""
    distance: Floats = np.hypot(along - np.clip(along, -1, 1), beside)
    return distance


def _colours(hue: Floats, lightness: Floats) -> Floats:
    """Return red, green and blue, shape (pictures, 3): a third of a turn apart on the circle."""
    turns = 2 * np.pi * (hue[:, None] - np.arange(3) / 3)
    colours: Floats = np.clip(lightness[:, None] + 0.3 * np.cos(turns), 0, 1)
    return colours
