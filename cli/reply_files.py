"""Where answers to requests are written."""

from pathlib import Path

from unlearn.cli.output import names
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.git import ignored
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.replies import Reply

#: Answers name people who asked, and those who are not in the dataset.
_PRIVATE = 0o600


def check_target(project: Project, target: Path, request: Path) -> None:
    """Refuse a place for an answer where git would get it, or that is the request itself.

    Raises
    ------
    InputError
        If the place is in the project and git does not ignore it, or is the request.
    """
    where = target.resolve()
    if where == request.resolve() or (where.is_dir() and where == request.resolve().parent):
        raise InputError("the answer would replace the request; name another place")
    root = project.root.resolve()
    if where.is_relative_to(root):
        name = where.relative_to(root).as_posix()
        if not ignored(root, f"{name}/x" if where.is_dir() else name):
            raise InputError(
                f"git would get {name}: an answer says who is not in the dataset",
                "write it to a place outside of the project, or below .unlearn",
            )


def write_reply(reply: Reply, target: Path) -> str:
    """Write the files of an answer; return what was written, for a message.

    Raises
    ------
    InputError
        If there are several files, and the place is no folder.
    """
    if not reply.files:
        return "nothing, no entry has a status yet"
    if len(reply.files) == 1 and not target.is_dir():
        (content,) = reply.files.values()
        write_bytes(target, content, _PRIVATE)
        return str(target)
    if target.exists() and not target.is_dir():
        raise InputError(
            f"{target.name} is a file, and the answer has {len(reply.files)} files: name a folder"
        )
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in reply.files.items():
        write_bytes(target / name, content, _PRIVATE)
    return f"{names(list(reply.files))} in {target}"
