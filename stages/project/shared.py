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


def is_shared(root: Path) -> bool:
    """Return whether a project was added to the files of a folder that had some before.

    One marked block is enough: others may have been deleted.
    """
    return any(_has_block(root / name) for name in (".gitignore", "dvc.yaml", "params.yaml"))


def _has_block(path: Path) -> bool:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == BEGIN for line in lines)
