"""The plots' tables as the page reads them: what is missing or damaged is left out."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.report.formatting import number


@dataclass(frozen=True)
class RocPoint:
    """A line of reports/roc.csv."""

    model: str
    attack: str
    sample: str
    fpr: float
    tpr: float


@dataclass(frozen=True)
class ScoreBin:
    """A line of reports/scores.csv."""

    model: str
    attack: str
    sample: str
    low: float
    high: float
    share: float


def _rows(path: Path, columns: tuple[str, ...]) -> Iterable[dict[str, str]]:
    """Yield the lines of a plot that have all columns; none where it is missing or damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for row in csv.DictReader(text.splitlines()):
        if all(row.get(column) is not None for column in columns):
            yield row


def read_roc(path: Path) -> Iterable[RocPoint]:
    """Yield the lines of reports/roc.csv that can be read."""
    for row in _rows(path, ("model", "attack", "sample", "fpr", "tpr")):
        fpr, tpr = _share(row["fpr"]), _share(row["tpr"])
        if fpr is not None and tpr is not None:
            yield RocPoint(row["model"], row["attack"], row["sample"], fpr, tpr)


def read_scores(path: Path) -> Iterable[ScoreBin]:
    """Yield the lines of reports/scores.csv that can be read."""
    for row in _rows(path, ("model", "attack", "sample", "low", "high", "share")):
        low, high, share = _float(row["low"]), _float(row["high"]), _share(row["share"])
        if low is not None and high is not None and share is not None and low <= high:
            yield ScoreBin(row["model"], row["attack"], row["sample"], low, high, share)


def _float(text: str) -> float | None:
    try:
        return number(float(text))
    except ValueError:
        return None


def _share(text: str) -> float | None:
    value = _float(text)
    return value if value is not None and 0 <= value <= 1 else None
