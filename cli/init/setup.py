"""Setting up a project: repositories, copies of the rows, and the files that git is to have."""

import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
from unlearn.cli.init.answer import KeyName
from unlearn.cli.init.files import (
    parse,
    read_template,
)
from unlearn.cli.init.joining import INTO, joins
from unlearn.cli.init.request import REQUIREMENTS
from unlearn.cli.init.requirements import render_requirements
from unlearn.cli.init.shared_files import (
    SHARED,
    default_branch_name,
    joined_files,
    pattern_files,
)
from unlearn.cli.init.workflow import Workflow
from unlearn.cli.output import names, progress, say
from unlearn.cli.text_edits import replace_file, restored_on_error
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import Params
from unlearn.stages.context import check_params
from unlearn.stages.dvc.command import run_dvc
from unlearn.stages.erasure.dataset.nonce import confirm_nonce, missing_nonces, write_nonce
from unlearn.stages.erasure.dataset.origins import Pipelines, has_been_in_git
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.ledger.suppressed import SUPPRESSED
from unlearn.stages.project.files import write_bytes, write_folder_through, write_through
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.reading.dataset_files import ending, find_files
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.shard_file import RECORD, Layout
from unlearn.stages.rows.tokens import DEMO_KEY, Key, Tokenizer, key_of_variable
from unlearn.stages.shard.partition import collect, refuse_shared_ids, spill
from unlearn.stages.shard.typed_rows import Problems, Rules


def check_rows(
    sources: dict[str, Path],
    params: Params,
    key: Key,
    columns: Collection[str] = (),
    *,
    look: Callable[[pa.Table], None] | None = None,
    problems: Problems | None = None,
) -> list[pa.Table]:
    """Do what the shard stage will do, into a temporary folder: all its checks, and no change.

    Parameters
    ----------
    sources
        The files, by their names in `params`.
    params, key
        Of the new project.
    columns
        What to return besides the tokens of records; a whole table takes much memory.
    look
        Is called with all columns of the first shard.
    problems
        See `Rules`.

    Returns
    -------
    list of pyarrow.Table
        These columns of every shard, and of the holdout.
    """
    names = {name: source.name for name, source in sources.items()}
    dataset = params.dataset.model_copy(
        update={
            "path": names[params.dataset.path],
            "held_out": names.get(params.dataset.held_out or ""),
        }
    )
    batches = [
        read_batches(source, source.name, reading=Reading.of(dataset))
        for source in sources.values()
    ]
    pictured = sources.values() if "image" in dataset.features.values() else ()
    with (
        tempfile.TemporaryDirectory(prefix="unlearn-init-") as scratch,
        progress("checking rows", None, "rows") as advance,
    ):
        spill(
            batches[0],
            Rules(
                dataset,
                params.sharding,
                Tokenizer(key, IdRules.of(dataset)),
                frozenset(),
                *(PictureFolder.of(source, source.name) for source in pictured),
                problems=problems,
            ),
            Path(scratch),
            advance,
            held_out=batches[1] if len(batches) > 1 else (),
        )
        tables = [
            collect(Path(scratch), name, Layout.of(dataset), dataset.path, [RECORD, *columns])
            for name in [*params.sharding.shards, HOLDOUT]
        ]
        if dataset.held_out is not None:
            refuse_shared_ids(tables[0], tables[1], (dataset.path, dataset.held_out))
        if look is not None:
            first = params.sharding.shards[0]
            look(collect(Path(scratch), first, Layout.of(dataset), dataset.path))
        return tables


def start_repositories(root: Path) -> None:
    """Make the folder a git and a DVC repository where it is none."""
    above = (root, *root.parents)
    if not any((folder / ".git").exists() for folder in above):
        _git(root, "init", "--quiet")
    if not any((folder / ".dvc").is_dir() for folder in above):
        top = Path(_git(root, "rev-parse", "--show-toplevel").strip()).resolve()
        run_dvc(root, "init", *(() if top == root else ("--subdir",)))


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, text=True, capture_output=True, check=True
        )
    except FileNotFoundError:
        raise ToolError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        raise ToolError(f"`git {arguments[0]}` failed: {error.stderr.strip()}") from None
    return done.stdout


def refuse_tracked(root: Path, names: Iterable[str]) -> None:
    """Refuse files or folders that git tracks, before anything is written: DVC cannot add them."""
    if not root.is_dir() or not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return
    for name in names:
        if _git(root, "ls-files", "--", f":(literal){name}"):
            raise InputError(
                f"git tracks {name}, which is for DVC to keep; nothing was changed",
                f"`git rm -r --cached {name}` removes it from git and keeps the file",
            )


def _copy_dataset(source: Path, path: Path) -> None:
    if path.exists():
        if path.is_dir():
            write_nonce(path)
        return
    if ending(path) is not None:
        write_through(path, partial(_copy, source))
        return

    def copy(folder: Path) -> None:
        if not source.is_dir():
            _copy(source, folder / _name_in_folder(source))
        if source.is_dir():
            _copy_files(source, folder)
        write_nonce(folder)

    write_folder_through(path, copy)


def write_dataset(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write the files of a dataset.

    Parameters
    ----------
    path
        A file, or a folder that is not there.
    files
        Name in the folder, and content; the name is empty for a file.
    """

    def fill(folder: Path) -> None:
        for name, content in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        write_nonce(folder)

    if ending(path) is None:
        write_folder_through(path, fill)
        return
    for _, content in files:
        write(path, content)


def _copy_files(source: Path, folder: Path) -> None:
    """Copy the files of a dataset: those with rows, and the pictures beside them."""
    found = find_files(source, source.name)
    made: set[Path] = set()
    for file in [*found.rows, *(source / name for name in found.pictures)]:
        target = folder / file.relative_to(source)
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        _copy(file, target)


def _name_in_folder(source: Path) -> str:
    """Return what a file is called in a folder of rows, where some names mean no rows."""
    is_read = source.name[:1] not in (".", "_")
    return source.name if is_read else f"dataset{ending(source)}"


def _copy(source: Path, path: Path) -> None:
    shutil.copy(source, path)  # its mode too: a private file stays private


def _keep_out(root: Path, source: Path, copy: Path) -> list[str]:
    """Return the ignore pattern of the original file if it is in the repository."""
    if source == copy.resolve() or not source.is_relative_to(root):
        return []
    name = source.relative_to(root).as_posix()
    say(
        f"note: {name} was copied to data/; git now ignores the original, and requests do not "
        "change it: delete it"
    )
    return ["/" + re.sub(r"([\\*?\[\]!#])", r"\\\1", name)]


def choose_key(otherwise: KeyName) -> tuple[Key, KeyName]:
    """Return the key of a new project, and where it is.

    Parameters
    ----------
    otherwise
        Where it is if `UNLEARN_KEY` is not set: the stages would refuse any other key then.

    Raises
    ------
    InputError
        If the variable holds something else.
    """
    key = key_of_variable()
    if key is not None:
        return key, "UNLEARN_KEY"
    return Key(DEMO_KEY if otherwise == "demo" else secrets.token_hex(32)), otherwise


def write_ignore_files(root: Path, exceptions: list[str], hashed: list[str]) -> None:
    """Write .gitignore, .gitattributes and .dockerignore: before there is any row or key.

    What these files hold already stays, above the new lines.

    Parameters
    ----------
    root
        The project's folder.
    exceptions
        More lines of .gitignore, such as exceptions from `/data/?*`.
    hashed
        Files that git keeps and DVC hashes, besides those of every project; folders with a slash
        at the end.
    """
    root.mkdir(parents=True, exist_ok=True)
    for name, render in pattern_files(root, exceptions, hashed):
        path = root / name
        before = path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
        write(path, render(before))
    for name in ("data", "models", ".unlearn"):
        (root / name).mkdir(mode=0o700, exist_ok=True)


def put_in_place(
    root: Path,
    copies: dict[str, Path],
    *,
    key: Key | None,
    settings: dict[str, bytes],
    pipeline_text: bytes,
    hashed: list[str],
    outputs: Collection[str] = (),
) -> None:
    """Write a project whose rows were checked.

    Parameters
    ----------
    root
        Its folder.
    copies
        Path in the project, and where the rows are now.
    key, settings, pipeline_text
        The content of unlearn.key, of the files with settings by name, and of dvc.yaml; the key is
        None where it is not to be written.
    hashed
        Files and folders that git keeps and DVC hashes; see `write_ignore_files`.
    outputs
        Those of `copies` that are outputs of DVC, which stay where they are.

    Raises
    ------
    InputError
        If other rows are at the destination, or git tracks them; nothing was changed.
    """
    copies = {name: copies[name] for name in copies if name not in outputs}
    refuse_tracked(root, copies)
    for name, original in copies.items():
        if (root / name).exists() and (root / name).resolve() != original:
            raise InputError(
                f"{name} is there already; nothing was changed", *([INTO] if joins(root) else [])
            )
    ignored = [
        line for name, original in copies.items() for line in _keep_out(root, original, root / name)
    ]
    if joins(root):
        joined_files(root, settings, pipeline_text)  # an error before anything is written
    files = [*SHARED, *settings, *_OWN, *(f"{name}.dvc" for name in copies)]
    new = [root / name for name in copies if not (root / name).exists()]
    with restored_on_error([root / name for name in files]), _deleted_on_error(new):
        write_ignore_files(root, ignored, hashed)
        start_repositories(root)
        for name, original in copies.items():
            _copy_dataset(original, root / name)
        if key is not None:
            write(root / "unlearn.key", key.text.encode() + b"\n", mode=0o600)
        write_project(root, settings, pipeline_text)
        if copies:
            add_to_dvc(root, copies)
    confirm_nonce(Project(root), tuple(name for name in copies if (root / name).is_dir()))
    _say_about_md5s(root, copies)
    _say_about_outputs(root, outputs, check_params(parse(settings)).dataset)


#: Files of a new project in addition to its settings. If a failure left them behind, no .gitignore
#: would keep the key out of git.
_OWN = ("unlearn.key", "data/forget_list.txt", SUPPRESSED, "models/README.md")


@contextmanager
def _deleted_on_error(copies: Iterable[Path]) -> Iterator[None]:
    """Delete copies of rows that the block made if it fails."""
    try:
        yield
    except BaseException:
        for path in copies:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        raise


def _say_about_outputs(root: Path, outputs: Collection[str], dataset: DatasetParams) -> None:
    """Say what git has of rows that stay where they are."""
    for why in missing_nonces(Project(root), dataset).values():
        if outputs and why.startswith(tuple(outputs)):
            say(f"note: {why}")
    for name in outputs:
        if has_been_in_git(Project(root), name):
            say(
                f"note: git has {name} with its rows, and `unlearn erase` deletes nothing from "
                "git's history"
            )


def _say_about_md5s(root: Path, copies: dict[str, Path]) -> None:
    """Say which md5s in git can be tested against a guess of a row."""
    single = [name for name in copies if (root / name).is_file()]
    if single:
        say(
            f"note: git keeps the md5 of {names(single)}, against which a guess of a row can be "
            "tested; --in-folder prevents that"
        )
    pipelines = Pipelines.of(Project(root))
    for name, source in copies.items():
        if (written := pipelines.stage_of(source)) is not None:
            say(
                f"note: {name} is a copy of an out of the stage {written[0]} in {written[1]}, "
                "whose md5 in git can be tested against a guess of a row as well"
            )


def add_to_dvc(root: Path, paths: Iterable[str]) -> None:
    """Have DVC keep files or folders that git is not to have."""
    run_dvc(root, "add", *paths)


def write_project(root: Path, settings: dict[str, bytes], pipeline_text: bytes) -> None:
    """Write the files that git is to have."""
    for name, content in joined_files(root, settings, pipeline_text).items():
        replace_file(root / name, content)
    for name in ("data/forget_list.txt", SUPPRESSED):
        write(root / name, b"")
    about_models = root / "models/README.md"
    if not about_models.exists():
        write(about_models, read_template("models.md").encode())


def write_workflow(
    root: Path,
    workflow: Workflow,
    *,
    is_text: bool,
    distributions: Iterable[str] = (),
    upstream: Iterable[str] = (),
) -> None:
    """Write the workflow of a CI system, and what it installs.

    Parameters
    ----------
    root
        The project's folder.
    workflow
        What `find_workflow` found.
    is_text
        Whether the project trains a language model.
    distributions
        Packages that the model needs besides this tool's own.
    upstream
        Files outside of the project that change its dataset.
    """
    write(root / REQUIREMENTS, render_requirements(("llm",) if is_text else (), distributions))
    write(workflow.top / workflow.path, workflow.render(default_branch_name(root), upstream))


def write(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, content, mode)
