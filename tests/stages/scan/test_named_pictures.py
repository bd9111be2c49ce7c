"""Pictures outside of the dataset that are named after forgotten people are found."""

from pathlib import Path

import pytest
from unlearn.stages.context import Context
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import parse_forget_list
from unlearn.stages.scan.named_pictures import NamedPictures

from tests.stages.conftest import KEY, make_params, token_of


def search(root: Path, *lines: str) -> NamedPictures:
    features = {"photo": {"kind": "image", "shape": [3, 4, 4]}}
    params = make_params(
        subject="person",
        path="data/dataset",
        features=features,
        train={"model": "net.py:build", "device": "cpu"},
    )
    context = Context(Project(root), params, KEY)
    text = "".join(f"{line}\n" for line in sorted(lines))
    return NamedPictures(
        context, parse_forget_list(text.encode(), context.tokenizer, subjects=True)
    )


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("exports/P0709.png", True),
        ("exports/P0709/a.JPG", True),
        ("exports/P0709_01.jpeg", True),
        ("site-east/scan of P0709 (2).png", True),
        ("exports/r000123.png", True),
        ("exports/P0708.png", False),
        ("exports/P07091.png", False),
        ("exports/P0709.txt", False),
        # Pictures of the dataset that stand are those of rows that stay.
        ("data/dataset/P0709.png", False),
        # By chance.
        ("exports/r1.png", False),
        ("exports/1234.png", False),
    ],
)
def test_names(tmp_path: Path, name: str, *, is_found: bool) -> None:
    listed = [token_of("P0709", "subject"), *map(token_of, ("r1", "1234"))]
    pair = f"{token_of('P0001', 'subject')}.{token_of('r000123')}"
    found = search(tmp_path, *listed, pair)

    assert found.has(name, in_project=True) == is_found


def test_a_backup_of_the_dataset_is_searched(tmp_path: Path) -> None:
    found = search(tmp_path, token_of("P0709", "subject"))

    assert found.has("data/dataset/P0709.png", in_project=False)
    assert not search(tmp_path).has("P0709.png", in_project=False)
