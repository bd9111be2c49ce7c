"""Projects in folders that have other files, too: those of a team that was there before."""

from pathlib import Path

#: The comments around what `init` adds to a file that was there.
BEGIN, END = "# >>> unlearn", "# <<< unlearn"

#: What a project writes to data/ and models/ and git must not have; it may have other files there.
PRIVATE = (
    "data/shards",
    "data/retain_set",
    "data/forget_set",
    "data/recipe.json",
    "models/shard_models",
    "models/original",
    "models/unlearned",
    "models/final_model",
)


#: A line that .gitignore has in shared folders alone: elsewhere one covers all of data/.
_LINE_OF_SHARED = "/data/retain_set"


def is_shared(root: Path) -> bool:
    """Return whether a project was added to the files of a folder that had some before.

    One marked block is enough: others may have been deleted. Without any, because a formatter took
    the comments out, .gitignore tells by what it ignores.
    """
    return any(_has(root / name, BEGIN) for name in (".gitignore", "dvc.yaml", "params.yaml")) or (
        _has(root / ".gitignore", _LINE_OF_SHARED)
    )


def _has(path: Path, wanted: str) -> bool:
    """Return whether a file has a line, indented or not."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == wanted for line in lines)
