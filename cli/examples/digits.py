"""scikit-learn's digits: the example of a table, and the project at the root of the repository."""

from typing import Final

#: Where the dataset is in a project.
DIGITS_PATH: Final = "data/digits.csv"

#: The pixels of an image of 8 x 8, row by row.
PIXELS: Final = tuple(f"p{row}{column}" for row in range(8) for column in range(8))

CLASSES: Final = tuple(str(digit) for digit in range(10))

ROWS: Final = 1797


def digits_csv() -> bytes:
    """Return the digits as a CSV: id, 64 pixels from 0 to 16, and the digit."""
    # For this example alone: scikit-learn takes a second to load.
    from sklearn.datasets import load_digits

    digits = load_digits()
    lines = [",".join(["id", *PIXELS, "digit"])]
    for number, (pixels, digit) in enumerate(zip(digits.data, digits.target, strict=True)):
        values = ",".join(str(int(pixel)) for pixel in pixels)
        lines.append(f"{number:04d},{values},{digit}")
    return ("\n".join(lines) + "\n").encode()
