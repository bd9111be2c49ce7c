"""Projects from before the settings for ids: what they can state without losing a token."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.rows.pins import find_types


def pins(root: Path, people: list[Any], *more: list[Any]) -> dict[Any, Any] | None:
    (root / "d").mkdir(parents=True)
    for number, values in enumerate((people, *more)):
        ids = [f"r{number}-{row}" for row in range(len(values))]
        pq.write_table(pa.table({"id": ids, "who": values}), root / "d" / f"{number}.parquet")
    settings: dict[str, Any] = {
        "path": "d",
        "id": "id",
        "subject": "who",
        "target": "y",
        "classes": ["a"],
    }
    dataset = DatasetParams.model_validate(settings | {"features": {"x": "numeric"}})
    return find_types(root, dataset)


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([7, 8], "integer"),
        (["7", "8"], "integer"),
        (["ann", "Ann"], "text"),
        # Whole numbers, but each token is made from the text.
        (["7.0", "8.0"], "text"),
    ],
)
def test_what_changes_no_token_is_stated(tmp_path: Path, people: list[Any], expected: str) -> None:
    assert pins(tmp_path, people) == {"record": "text", "subject": expected}


@pytest.mark.parametrize(
    "files", [([7, 8], [7.0]), ([7.5],), ([datetime(2024, 1, 1, tzinfo=UTC)],), ([2.0**60],)]
)
def test_where_every_setting_would_change_a_token_there_is_none(
    tmp_path: Path, files: tuple[list[Any], ...]
) -> None:
    assert pins(tmp_path, *files) is None


def test_a_dataset_that_is_not_here_is_an_error(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"path": "d", "id": "id", "target": "y", "classes": ["a"]}
    dataset = DatasetParams.model_validate(settings | {"features": {"x": "numeric"}})
    with pytest.raises(InputError, match="does not exist"):
        find_types(tmp_path, dataset)
