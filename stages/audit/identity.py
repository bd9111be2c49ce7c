"""What may separate people from their rows, or files from their digests."""

from collections.abc import Iterator

from unlearn.stages.config.settings_files import FILES
from unlearn.stages.context import Context
from unlearn.stages.dvc.lockfile import load_lock
from unlearn.stages.project.files import scratch_folder
from unlearn.stages.project.git import git
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.look_alike_rows import count_in_dataset
from unlearn.stages.rows.look_alikes import DIFFERENCES

#: How many files a finding names.
_SHOWN = 3


def look_alike_findings(context: Context) -> Iterator[str]:
    """Yield a sentence for rows of look-alikes that a request may have missed.

    Where the user chose `identity: exact`, look-alikes are different people, and only those of
    forgotten ids are findings. Without the dataset there is nothing to look at.

    Raises
    ------
    InputError
        If the dataset is not readable.
    """
    project, dataset = context.project, context.params.dataset
    paths = [dataset.path, *([dataset.held_out] if dataset.held_out else [])]
    if not all((project.root / name).exists() for name in paths):
        return
    with scratch_folder(project.scratch("look-alikes")) as scratch:
        found = count_in_dataset(
            project.root, dataset, context.tokenizer, context.read_list(), scratch
        )
    if found.missed:
        yield (
            f"{found.missed:,} rows of {dataset.path} stay although their ids differ from "
            f"forgotten ones only in {DIFFERENCES}; if they are the same people, forget these ids "
            "too"
        )
    if found.rows and dataset.identity is None:
        yield (
            f"{found.rows:,} rows of {dataset.path} have ids that differ from another id only in "
            f"{DIFFERENCES}; `dataset.identity: exact` in params.yaml states that they are "
            "different people"
        )


def line_end_findings(project: Project) -> Iterator[str]:
    """Yield a sentence if git may change the line ends of files that DVC hashes.

    Raises
    ------
    InputError
        If dvc.lock was cut short.
    """
    lock = load_lock(project)
    entries = [
        entry for stage in lock.values() for key in ("deps", "outs") for entry in stage.get(key, [])
    ]
    # The lock of a project that never ran has none; these are dependencies in any case.
    paths = sorted({*FILES, *(str(entry["path"]) for entry in entries)})
    tracked = _git(project, "ls-files", "-z", "--", *(f":(literal){path}" for path in paths))
    if not tracked:
        return
    words = _git(project, "check-attr", "-z", "text", "eol", "--", *tracked)
    values = {(words[at], words[at + 1]): words[at + 2] for at in range(0, len(words), 3)}
    changing = [
        name for name in tracked if values[name, "text"] != "unset" and values[name, "eol"] != "lf"
    ]
    if changing:
        more = ", ..." if len(changing) > _SHOWN else ""
        yield (
            "git may change the line ends of files that DVC hashes: "
            f"{', '.join(changing[:_SHOWN])}{more}; give them the attribute `-text` in "
            ".gitattributes"
        )


def _git(project: Project, *arguments: str) -> list[str]:
    """Return the words that git printed, each with a NUL at its end; none on an error."""
    out = git(project.root, *arguments) or b""
    return out.decode("utf-8", "surrogateescape").split("\0")[:-1]
