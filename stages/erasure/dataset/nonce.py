"""A file of random bytes beside the rows: with it, an md5 in git is no test of a guess.

DVC writes the md5 and the size of a dataset into files that git keeps for good. Who has all rows
but one can guess that one, and compare the md5. The md5 of a folder also depends on the nonce in
it. The nonce is random and not derived from the key: else who has the key, and all rows but one,
could test a guess. It is drawn again whenever rows are erased.
"""

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.context import Context
from unlearn.stages.dvc.cache import read_cached
from unlearn.stages.erasure.dataset.origins import Pipelines, has_been_in_git
from unlearn.stages.errors import Facts, ToolError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.paths import NONCE, Project

_BYTES = 32
#: Up to so many more bytes, so that the sizes before and after do not tell how long a row was.
_MOST_MORE = 1 << 16

#: Says in a .dvc file that there is a nonce: nothing else in git does.
_MARK = "unlearn_nonce: true"
_MARKED = re.compile(rf"^  {_MARK}$", re.MULTILINE)
_MD5 = re.compile(r"^- md5: ([0-9a-f]{32}\.dir)$", re.MULTILINE)

#: How to give a folder a nonce by hand.
_BY_HAND = f"`head -c 32 /dev/urandom > {{0}}/{NONCE}`, then `dvc add {{0}}`"
_MOVE = (
    "docs/data.md says how to move the file into a folder with one; "
    "`unlearn init --in-folder` does it for a new project"
)


def write_nonce(folder: Path) -> None:
    """Put a new nonce into a folder of rows, in the place of the old one."""
    content = secrets.token_bytes(_BYTES + secrets.randbelow(_MOST_MORE))
    write_bytes(folder / NONCE, content, 0o600)


@dataclass(frozen=True)
class Nonces:
    """What became of the nonces of a project.

    Parameters
    ----------
    renewed
        Folders of rows that have a new nonce: `dvc add` has to record them.
    without
        Why other files or folders of rows have none, by name: a sentence, with what to do.
    """

    renewed: tuple[str, ...]
    without: dict[str, str]


def refresh_nonce(context: Context) -> Nonces:
    """Draw the nonces of a project's folders of rows again.

    To be called after rows were dropped, and before `dvc add` records the folders; then
    `confirm_nonce` checks that it did.

    Parameters
    ----------
    context
        The project.
    """
    dataset = context.params.dataset
    without = reasons_against(context.project, dataset)
    renewed = tuple(name for name in _names(dataset) if name not in without)
    for name in renewed:
        write_nonce(context.project.root / name)
    return Nonces(renewed, without)


def reasons_against(project: Project, dataset: DatasetParams) -> dict[str, str]:
    """Return the files and folders of rows that can have no nonce of ours, each with the reason.

    Canaries are no rows of people, and have none.
    """
    pipelines = Pipelines.of(project)
    found = {}
    for name in _names(dataset):
        path = project.root / name
        if (written := pipelines.stage_of(path)) is not None:
            found[name] = (
                f"{name} is an out of the stage {written[0]}, and has no nonce of ours: its md5 in "
                "git can be tested against a guess of a row, unless the stage writes a file of "
                "random bytes into a folder of rows, with a name that begins with a dot"
            )
        elif (imported := pipelines.import_of(path)) is not None:
            found[name] = (
                f"{name} was brought in by `{imported[0]}`, and has no nonce of ours: its md5 in "
                "git can be tested against a guess of a row"
            )
        elif has_been_in_git(project, name):
            found[name] = f"{name} is, or was, in git, with its rows"
        elif not path.is_dir():
            found[name] = (
                f"{name} is one file: its md5 in git can be tested against a guess of a row; "
                f"{_MOVE}"
            )
    return found


def missing_nonces(project: Project, dataset: DatasetParams) -> dict[str, str]:
    """Return why files and folders of rows have no nonce now; see `reasons_against`.

    Those that git has with their rows are left out: there is nothing left to guess.
    """
    found = reasons_against(project, dataset)
    for name in _names(dataset):
        folder = project.root / name
        if name not in found and folder.is_dir() and not (folder / NONCE).is_file():
            found[name] = (
                f"{name} has no nonce: its md5 in git can be tested against a guess of a row; "
                f"{_BY_HAND.format(name)} gives it one"
            )
    return {name: why for name, why in found.items() if not has_been_in_git(project, name)}


def confirm_nonce(project: Project, names: tuple[str, ...]) -> None:
    """Check that DVC recorded folders with their nonces, and note it in their .dvc files.

    Parameters
    ----------
    project
        The project.
    names
        Folders of rows, relative to it. Where DVC tracks them, `dvc add` has run.

    Raises
    ------
    ToolError
        If DVC leaves the nonce of a folder out.
    """
    for name in names:
        pointer = project.root / f"{name}.dvc"
        if not pointer.is_file():
            continue  # DVC does not track it
        text = pointer.read_text(encoding="utf-8")
        found = _MD5.search(text)
        listing = None if found is None else listed_names(project, found[1])
        if listing is not None and NONCE not in listing:
            raise ToolError(
                f"DVC leaves out {name}/{NONCE}, without which the md5 of {name} in git can be "
                "tested against a guess of a row",
                f"add the line `!{NONCE}` to .dvcignore, and run `dvc add {name}`",
                facts=Facts(file=f"{name}/{NONCE}"),
            )
        if not is_marked(text):
            write_bytes(pointer, _with_mark(text).encode())


def is_marked(pointer: str) -> bool:
    """Return whether the text of a .dvc file says that its folder has a nonce."""
    return _MARKED.search(pointer) is not None


def _with_mark(text: str) -> str:
    # `dvc add` keeps what is below `meta`.
    if "\nmeta:\n" in text:
        return text.replace("\nmeta:\n", f"\nmeta:\n  {_MARK}\n", 1)
    return f"{text}meta:\n  {_MARK}\n"


def listed_names(project: Project, md5: str) -> set[str] | None:
    """Return the files of a folder by the md5 of its list; None if DVC's cache does not have it."""
    content = read_cached(project, md5)
    if content is None:
        return None
    try:
        return {str(entry["relpath"]) for entry in json.loads(content)}
    except (ValueError, TypeError, LookupError):
        return None


def _names(dataset: DatasetParams) -> list[str]:
    return [name for name in (dataset.path, dataset.held_out) if name is not None]
