"""Shards of any revision, trained again from that revision's own rows and forget list."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unlearn.stages.config.params import Params
from unlearn.stages.context import Context, load_params
from unlearn.stages.dvc.checkout import absent, check_out, needed, restore
from unlearn.stages.dvc.lockfile import LockStages, folder_md5, md5_of
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.tokens import load_key
from unlearn.stages.verify.exactness.checks import check_shards, retrain_shards
from unlearn.stages.verify.exactness.choosing import choose_shards
from unlearn.stages.verify.exactness.found import Retrain


@dataclass(frozen=True)
class Recheck:
    """What came of it.

    Parameters
    ----------
    asked
        How many shards were to be retrained.
    shards
        Those that were chosen.
    reran, matched
        How many were retrained, and came out the same.
    problems
        A sentence for each mismatch.
    inconclusive
        Why some could not be retrained here, in sentences.
    """

    asked: int | Literal["all"]
    shards: tuple[str, ...]
    reran: int
    matched: int
    problems: tuple[str, ...]
    inconclusive: tuple[str, ...]


def recheck(
    project: Project,
    revision: str | None,
    lock: LockStages,
    changed: Collection[str],
    asked: int | Literal["all"],
    *,
    retrain: Retrain = retrain_shards,
) -> Recheck:
    """Retrain some shards of a revision, and compare with the models that it has.

    A user's own torch module is run as that revision has it.

    Parameters
    ----------
    project
        The user's own; its key is used.
    revision
        A revision that git knows; None for the working tree.
    lock
        The revision's dvc.lock.
    changed
        Shards to choose before any other.
    asked
        How many shards; which ones follows from the revision's forget list.
    retrain
        Trains them; one after another by default.

    Raises
    ------
    InputError
        If something that this takes cannot be had or read; the message says of which revision.
    """
    with _at(project, revision) as there, _naming(revision):
        params = load_params(there.params)
        context = Context(there, params, load_key(project, params.key_check))
        forget_list = context.read_list()
        chosen = choose_shards(
            params.sharding.shards, forget_list.digest, asked, first=frozenset(changed)
        )
        locked = [shard for shard in chosen if f"train@{shard}" in lock]
        problems = [
            f"dvc.lock has no entry for train@{shard}" for shard in chosen if shard not in locked
        ]
        _fetch(project, there, revision, locked)
        lend_base(params, project.root, there.root)
        problems += _other_models(there, lock, locked)
        found = check_shards(context, forget_list, locked, retrain=retrain)
    return Recheck(
        asked=asked,
        shards=tuple(chosen),
        reran=found.reran,
        matched=found.matched,
        problems=(*problems, *found.problems),
        inconclusive=tuple(
            f"models of another environment cannot be retrained here: {line}"
            for line in found.environment
        ),
    )


@contextmanager
def _at(project: Project, revision: str | None) -> Iterator[Project]:
    if revision is None:
        yield project
    else:
        with check_out(project, revision) as there:
            yield there


@contextmanager
def _naming(revision: str | None) -> Iterator[None]:
    """Say of which revision an error is; of the working tree it goes without saying."""
    try:
        yield
    except InputError as error:
        if revision is None:
            raise
        raise InputError(f"{revision}: {error.message}", *error.hints, facts=error.facts) from None


def _fetch(project: Project, there: Project, revision: str | None, shards: list[str]) -> None:
    if revision is not None:
        restore(project, there, shards)
    elif missing := absent(there, needed(shards)):
        raise InputError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            "`dvc pull` fetches, or `unlearn repro` makes it",
        )


def lend_base(params: Params, root: Path, there: Path) -> None:
    """Make the base of a language model that is a folder of the project stand in another one, too.

    Its files are pinned by their digests, so that those of today are as good as those of then, or
    are found to be others when it is opened.

    Parameters
    ----------
    params
        Settings of the revision in `there`.
    root, there
        The project's folder, and that of the checked-out revision; nothing is done where they
        are the same, or the base is there already.
    """
    if params.modality != "text":
        return
    base = text_options(params.train).base
    own, lent = root / base, there / base
    if own.is_dir() and not lent.exists():
        lent.parent.mkdir(parents=True, exist_ok=True)
        lent.symlink_to(own.resolve(), target_is_directory=True)


def _other_models(there: Project, lock: LockStages, shards: list[str]) -> Iterator[str]:
    """Yield a sentence for each model that is not the one whose digest the lock has."""
    for shard in shards:
        path = f"models/shard_models/{shard}"
        if folder_md5(there.root / path) != md5_of(lock[f"train@{shard}"]["outs"], path):
            yield f"{path} is not the one in dvc.lock"
