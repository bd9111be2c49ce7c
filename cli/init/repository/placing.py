"""How the files of a new project get to their places: all of them, or none."""

import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn.cli.init.files.requirements import REQUIREMENTS, render_requirements
from unlearn.cli.init.files.settings import parse
from unlearn.cli.init.files.templates import read_template
from unlearn.cli.init.files.workflow import Workflow
from unlearn.cli.init.repository.copies import copy_dataset, keep_out
from unlearn.cli.init.repository.ignore_files import write_ignore_files
from unlearn.cli.init.repository.joining import INTO, joins
from unlearn.cli.init.repository.md5_notes import say_about_md5s, say_about_outputs
from unlearn.cli.init.repository.repositories import add_to_dvc, refuse_tracked, start_repositories
from unlearn.cli.init.repository.shared_files import SHARED, default_branch_name, joined_files
from unlearn.cli.text_edits import replace_file, restored_on_error
from unlearn.stages.context import check_params
from unlearn.stages.erasure.dataset.nonce import confirm_nonce
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.suppressed import SUPPRESSED
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.tokens import Key


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
        line for name, original in copies.items() for line in keep_out(root, original, root / name)
    ]
    if joins(root):
        joined_files(root, settings, pipeline_text)  # an error before anything is written
    files = [*SHARED, *settings, *_OWN, *(f"{name}.dvc" for name in copies)]
    new = [root / name for name in copies if not (root / name).exists()]
    with restored_on_error([root / name for name in files]), _deleted_on_error(new):
        write_ignore_files(root, ignored, hashed)
        start_repositories(root)
        for name, original in copies.items():
            copy_dataset(original, root / name)
        if key is not None:
            write_bytes(root / "unlearn.key", key.text.encode() + b"\n", mode=0o600)
        write_project(root, settings, pipeline_text)
        if copies:
            add_to_dvc(root, copies)
    confirm_nonce(Project(root), tuple(name for name in copies if (root / name).is_dir()))
    say_about_md5s(root, copies)
    say_about_outputs(root, outputs, check_params(parse(settings)).dataset)


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


def write_project(root: Path, settings: dict[str, bytes], pipeline_text: bytes) -> None:
    """Write the files that git is to have."""
    for name, content in joined_files(root, settings, pipeline_text).items():
        replace_file(root / name, content)
    for name in ("data/forget_list.txt", SUPPRESSED):
        write_bytes(root / name, b"")
    about_models = root / "models/README.md"
    if not about_models.exists():
        write_bytes(about_models, read_template("models.md").encode())


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
    write_bytes(
        root / REQUIREMENTS, render_requirements(("llm",) if is_text else (), distributions)
    )
    write_bytes(workflow.top / workflow.path, workflow.render(default_branch_name(root), upstream))
