"""What the `forget` stage notes of itself: read as written, and not at all where damaged."""

from pathlib import Path

import pytest
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.applied import Applied, AppliedShard, read_applied, write_applied


def an_applied() -> Applied:
    shard = AppliedShard(source="ab", forgotten="cd", retain="ef", forget=None)
    return Applied(digest="01" * 32, tokens=("u1_a", "u1_b"), without_rows=1, shards={"s0": shard})


def test_what_was_written_is_read_and_in_the_format_of_version_1(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write_applied(project, an_applied())

    assert read_applied(project) == an_applied()
    assert project.applied.read_bytes() == json_bytes(
        {
            "schema_version": 1,
            "list": "01" * 32,
            "tokens": ["u1_a", "u1_b"],
            "without_rows": 1,
            "shards": {
                "s0": {"source": "ab", "forgotten": "cd", "retain": "ef", "forget": None},
            },
        }
    )


def test_nothing_is_known_before_the_stage_ran(tmp_path: Path) -> None:
    assert read_applied(Project(tmp_path)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"list": 3}',
        b'{"list": "ab", "tokens": 1, "without_rows": 0, "shards": {}}',
        b'{"list": "ab", "tokens": [], "without_rows": 0, "shards": {"s000": 3}}',
        b'{"schema_version": 2, "list": "ab", "tokens": [], "without_rows": 0, "shards": {}}',
    ],
)
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    project = Project(tmp_path)
    project.applied.parent.mkdir(parents=True)
    project.applied.write_bytes(content)

    assert read_applied(project) is None
