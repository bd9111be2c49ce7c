"""Projects of a language model, run in this process: made-up authors on the tiny base."""

import shutil
from pathlib import Path
from typing import Any

from unlearn.cli.examples.authors import jsonl, make_authors
from unlearn.stages.config.params import ALGORITHM, Params, shard_names
from unlearn.stages.context import Context, check_params
from unlearn.stages.project.paths import Project
from unlearn.stages.text.base import pin_files

from tests.language_models import CONTEXT, FEATURES
from tests.stages.conftest import KEY, put_on_list, token_of

#: Settings that memorise a shard's authors, by model.
TUNING = {
    "lora": {"epochs": 30, "batch": 8, "rate": 3e-3},
    "causal_lm": {"epochs": 25, "batch": 16, "rate": 1e-3},
}


def language_params(
    base: Path,
    model: str = "lora",
    *,
    shards: int = 4,
    holdout: float = 0.3,
    rule: str = "mean_log_probability",
    verify: dict[str, Any] | None = None,
    unlearn: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
) -> Params:
    """Return settings for rows of made-up authors on a base in the project's folder."""
    tuning = TUNING[model]
    options: dict[str, Any] = {
        "base": "base",
        "files": pin_files(base, "base"),
        "context": CONTEXT,
    }
    if model == "lora":
        options |= {"rank": 8, "alpha": 16}
    settings: dict[str, Any] = {
        "algorithm": ALGORITHM,
        "key_check": KEY.check,
        "dataset": {
            "path": "data/dataset.jsonl",
            "id": "id",
            "subject": "author",
            "features": dict(FEATURES),
        },
        "sharding": {"shards": shard_names(shards), "slices": 1, "holdout": holdout},
        "train": {
            "model": model,
            "options": options,
            "epochs": tuning["epochs"],
            "batch": tuning["batch"],
            "optimizer": {"name": "adamw", "rate": tuning["rate"]},
            "device": "cpu",
            **(train or {}),
        },
        "aggregate": {"rule": rule},
        "verify": verify or {},
    }
    return check_params(settings | ({"unlearn": unlearn} if unlearn else {}))


def language_context(
    root: Path, base: Path, params: Params, *, authors: int = 20, seed: int = 1
) -> Context:
    """Return a project in a bare folder: authors, the base, and an empty forget list."""
    path = root / params.dataset.path
    path.parent.mkdir(parents=True)
    path.write_bytes(jsonl(make_authors(authors, seed)))
    shutil.copytree(base, root / "base")
    (root / "data/forget_list.txt").write_bytes(b"")
    return Context(Project(root), params, KEY)


def authors_in(context: Context, shard: str) -> list[str]:
    """Return the tokens of the authors that a shard, or the holdout, has, in order."""
    from unlearn.stages.rows.shard_file import read_shard, subject_tokens

    rows = read_shard(context.project.shard_file(shard), shard).rows
    return list(dict.fromkeys(subject_tokens(rows)))


def forget_authors(context: Context, *tokens: str) -> None:
    """Put persons on the list; what reads it is run by the caller."""
    put_on_list(context, *tokens)


def texts_of(authors: int, seed: int = 1) -> set[str]:
    """Return every text, id and token of the authors' rows: nothing of it may be in a report."""
    found: set[str] = set()
    for row in make_authors(authors, seed):
        found |= {str(value) for value in row.record().values()}
        found |= {token_of(row.id), token_of(row.author, "subject")}
    return found
