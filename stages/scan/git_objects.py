"""All objects of a git repository, also those that no commit has any more."""

import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from unlearn.stages.errors import ToolError
from unlearn.stages.project.git import leave_hook

#: Larger objects are kept on the disk while they are searched.
_MOST_IN_MEMORY = 16 << 20
_CHUNK_BYTES = 1 << 20


def git_objects(root: Path, folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each object's name and its content.

    Loose objects and those of packs come as they are after decompression.

    Parameters
    ----------
    root
        A folder of the repository.
    folder
        A folder for objects that are large.

    Yields
    ------
    tuple
        The type and the digest, as `blob 1234...`, and the content, which is closed afterwards.

    Raises
    ------
    ToolError
        If git ends before it has printed all of them: an object is damaged.
    """
    command = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered", "--buffer"]
    environment = dict(os.environ)
    leave_hook(environment)
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        source = cast("IO[bytes]", process.stdout)
        try:
            while header := source.readline():
                name, kind, size = header.decode().split()
                with _content(source, int(size), folder) as content:
                    yield f"{kind} {name}", content
                source.read(1)  # a line end
            if process.wait() != 0:
                raise _damaged()
        except ValueError:  # a line without three words: git could not read the object
            raise _damaged() from None
        finally:
            process.kill()


def count_objects(root: Path) -> int:
    """Return about how many objects a repository has; 0 if git does not say."""
    environment = dict(os.environ)
    leave_hook(environment)
    done = subprocess.run(
        ["git", "count-objects", "-v"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    return sum(int(found.get(name, "0")) for name in ("count", "in-pack"))


def _damaged() -> ToolError:
    return ToolError("git cannot read all of its objects", "`git fsck` names damaged ones")


def _content(source: IO[bytes], size: int, folder: Path) -> IO[bytes]:
    if size <= _MOST_IN_MEMORY:
        return io.BytesIO(source.read(size))
    copy: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    while size and (chunk := source.read(min(size, _CHUNK_BYTES))):
        copy.write(chunk)
        size -= len(chunk)
    copy.seek(0)
    return copy
