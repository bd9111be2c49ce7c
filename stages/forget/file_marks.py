"""By which the stage knows that files are still those whose digests it noted, unread.

The marks are in .unlearn, so they are about the files of this machine. A digest is computed again
wherever a mark is not as it was. Who may write there, or may set the machine's clock, can forge
them: what a model may be made from is not decided here. `verify` derives all rows from data/shards,
and DVC hashes every file that it records.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.context import Context
from unlearn.stages.project.files import digest_json, write_json
from unlearn.stages.project.paths import Project

#: A file that changed so shortly before it was marked, in nanoseconds, may change once more without
#: another time of change: file systems count in steps of up to two seconds.
MARGIN = 2_000_000_000

#: Size, time of the last change of content and of the last change of any kind, and number of each
#: file of a shard: in data/shards, data/retain_set and data/forget_set. None where there is none.
ShardMarks = list[list[int] | None]


@dataclass(frozen=True)
class FileMarks:
    """The files as the last run left them.

    Parameters
    ----------
    left_out
        Lines of canaries that the list had: applied.json does not have them.
    shards
        The marks of every shard, and of the holdout; of those alone that can be relied upon.
    """

    left_out: frozenset[str]
    shards: dict[str, ShardMarks]


def marks_of(project: Project, name: str) -> ShardMarks:
    """Return the marks of a shard's files as they are now."""
    return [
        _mark(path)
        for path in (
            project.shard_file(name),
            project.retain_file(name),
            project.forget_file(name),
        )
    ]


def _mark(path: Path) -> list[int] | None:
    try:
        stat = path.lstat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def read_marks(context: Context) -> FileMarks | None:
    """Return the marks; None where there are none for applied.json and the columns as they are."""
    project = context.project
    try:
        noted = json.loads(project.file_marks.read_bytes())
        if noted["of"] != _belongs_to(context):
            return None
        latest = project.file_marks.stat().st_mtime_ns - MARGIN
        reliable = {
            str(name): list(marks)
            for name, marks in noted["shards"].items()
            if all(mark is None or mark[2] < latest for mark in marks)
        }
        return FileMarks(frozenset(noted["left_out"]), reliable)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def write_marks(context: Context, marks: FileMarks) -> None:
    """Note the marks; applied.json has been written."""
    path = context.project.file_marks
    # The time of an equal file is that of an earlier run, when files may have been too new.
    path.unlink(missing_ok=True)
    write_json(
        path,
        {
            "of": _belongs_to(context),
            "left_out": sorted(marks.left_out),
            "shards": marks.shards,
        },
    )


def _belongs_to(context: Context) -> str:
    """Return a digest of what the marks hold for."""
    applied = hashlib.sha256(context.project.applied.read_bytes()).hexdigest()
    off = context.params.sharding.switched_off
    return digest_json([applied, context.layout.as_json(), *([off] if off else [])])
