"""The examples of `unlearn init` that are tables, with what is pinned for each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from unlearn.cli.examples import shapes, visits
from unlearn.cli.examples.digits import CLASSES, DIGITS_PATH, PIXELS, ROWS, digits_csv
from unlearn.cli.init.dataset.roles import Roles
from unlearn.cli.init.files.params import TableParams
from unlearn.cli.init.request.choices import Example
from unlearn.cli.init.scaffold import Plan


@dataclass(frozen=True)
class TableExample:
    """An example that is a table.

    Parameters
    ----------
    params
        Its settings.
    rows
        How many rows it has.
    files
        Yields its files: name and content. The name is empty where the dataset is one file.
    canaries
        How many canaries it has in shards.
    is_kept_by_dvc
        Whether DVC keeps the dataset, and not git.
    """

    params: TableParams
    rows: int
    files: Callable[[], Iterable[tuple[str, bytes]]]
    canaries: int = 0
    is_kept_by_dvc: bool = False


EXAMPLES = {
    Example.DIGITS: TableExample(
        TableParams(
            path=DIGITS_PATH,
            id="id",
            target="digit",
            plan=Plan(shards=8, slices=3, epochs=60),
            features=dict.fromkeys(PIXELS, "numeric"),
            classes=list(CLASSES),
        ),
        ROWS,
        lambda: [("", digits_csv())],
    ),
    Example.VISITS: TableExample(
        TableParams(
            path=visits.VISITS_PATH,
            id="visit",
            target="readmitted",
            plan=Plan(shards=20, slices=4, epochs=visits.EPOCHS),
            features=dict(visits.FEATURES),
            classes=list(visits.CLASSES),
            roles=Roles(subject_type="text"),
            subject="patient",
            categories={"ward": list(visits.WARDS)},
            options=visits.OPTIONS,
        ),
        visits.ROWS,
        lambda: [("", visits.visits_csv())],
    ),
    Example.SHAPES: TableExample(
        TableParams(
            path=shapes.SHAPES_PATH,
            id=shapes.ID,
            target=shapes.TARGET,
            plan=Plan(shards=5, slices=2, epochs=25),
            features={shapes.PICTURE: "image"},
            shapes={shapes.PICTURE: (3, shapes.SIZE, shapes.SIZE)},
            classes=list(shapes.CLASSES),
            roles=Roles(subject_type="text"),
            subject=shapes.PERSON,
            missing_columns="refuse",
            model="resnet",
            options={"width": 8},
            # A shard has few rows: small batches give it steps, and changed pictures rows.
            batch=16,
            rate=0.01,
            network={
                "schedule": {"name": "one_cycle"},
                "augment": {"crop": 2, "flip": True, "colour": 0.3},
            },
        ),
        shapes.PEOPLE * shapes.EACH,
        shapes.shapes_files,
        canaries=40,
        is_kept_by_dvc=True,
    ),
}
