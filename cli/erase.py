"""`unlearn erase`: deletes every copy of forgotten rows, and of models trained on them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Literal

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.engine_choice import EngineChoice
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, ask, emit, has_bars, names, plural, progress, say
from unlearn.cli.repro import bring_up_to_date
from unlearn.stages.audit.exports import (
    ExportNote,
    append_note,
    check_gone,
    place_name,
)
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.command import run_dvc
from unlearn.stages.dvc.locking import without_dvc
from unlearn.stages.dvc.pipeline import check_suppression_is_read
from unlearn.stages.erasure.conclusion import conclude
from unlearn.stages.erasure.dataset.nonce import confirm_nonce, refresh_nonce
from unlearn.stages.erasure.dataset.preview import (
    listed_pictures,
    listed_rows,
    places_of_others,
    tracked_rows,
)
from unlearn.stages.erasure.dataset.rewrite import (
    check_rewritable,
    rewrite_dataset,
    rows_of_others,
)
from unlearn.stages.erasure.evidence import keep_evidence, rests_on_rows
from unlearn.stages.erasure.journal import Journal, end_journal, read_journal, write_journal
from unlearn.stages.erasure.local import gone_copies, old_copies, preview_local, purge_local
from unlearn.stages.erasure.objects.find import Choice, StoreObjects, find_objects
from unlearn.stages.erasure.objects.purge import purge
from unlearn.stages.erasure.readiness import check_ready
from unlearn.stages.erasure.record import Start, read_start, record_erasure, suppress_rows
from unlearn.stages.errors import ToolError
from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.project.timings import read_timings, rows_of_last_run
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.scan.array_digests import drop_arrays, remember_arrays
from unlearn.stages.scan.residue import ResidueScan
from unlearn.stages.scan.row_digests import drop_digests, remember_digests

#: How the dataset is purged: its other rows stay.
_REWRITTEN = "its files were written again without the rows, and read again"

#: How many files that no commit names are shown of each place.
_SHOWN = 5


class PlaceEntry(AnswerPart):
    """A place that could hold copies.

    Parameters
    ----------
    name
        The place.
    state
        `purged` or `pending`.
    method
        How copies were deleted; null if nothing was done.
    why
        Why it is pending, or null.
    residual
        In how many of its files something was found afterwards.
    files
        Of a dry run with `--owned`, the files here that no commit names, and that are deleted too.
    """

    name: str
    state: Literal["purged", "pending"]
    method: str | None
    why: str | None
    residual: int
    files: list[str]


class EraseAnswer(Answer):
    """What was deleted, and what is left.

    Parameters
    ----------
    complete
        Whether no place is pending. It is false for a dry run.
    dry_run
        Whether nothing was changed.
    rows
        How many rows left each file of the dataset.
    pictures
        How many files of pictures were deleted with them.
    trained
        The models that were trained again.
    places
        All places.
    """

    complete: bool
    dry_run: bool
    rows: dict[str, int]
    pictures: int
    trained: list[str]
    places: list[PlaceEntry]


def erase(
    branches: Annotated[
        list[str] | None,
        typer.Option(
            "--branch",
            metavar="NAME",
            help="Delete also what the tip of this branch uses, which may be the only copy of new "
            "rows. Repeatable.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    stash: Annotated[
        bool, typer.Option("--stash", help="The same for entries of git's stash.")
    ] = False,
    experiments: Annotated[
        bool, typer.Option("--experiments", help="The same for experiments of DVC.")
    ] = False,
    reflog: Annotated[
        bool,
        typer.Option("--reflog", help="The same for commits that only git's reflog still has."),
    ] = False,
    owned: Annotated[
        bool,
        typer.Option(
            "--owned",
            help="No other project uses the cache and the remotes. Objects that no commit here "
            "names are deleted as well.",
        ),
    ] = False,
    gone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="This remote, which only an older .dvc/config names, does not exist any more; or "
            "no copy of this export is left. Repeatable.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the change.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the result and change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete every copy of forgotten rows, and of models that were trained on them.

    The rows leave the dataset, the shards, DVC's cache and remotes, and the history of this branch.
    What cannot be reached is listed as pending. Exits with 1 if something is. If it is interrupted,
    run it again.
    """
    context = open_project(find_project())
    exports = check_gone(context.project, gone or ())
    exported = {note.name for note in exports}
    choice = Choice(
        branches=tuple(branches or ()),
        stash=stash,
        experiments=experiments,
        reflog=reflog,
        owned=owned,
        gone=tuple(name for name in gone or () if name not in exported),
    )
    with exclusive(context.project.lock_file("repro"), "another run of `unlearn`"):
        start = read_start(context)
        journal = _begin(context, start, choice)
        if dry_run:
            answer = _preview(context, start, journal, exports)
        else:
            _say_cost(context)
            if not yes:
                ask("Delete the rows of the forget list and all copies? This cannot be undone.")
            for note in exports:
                if note.state != "gone":
                    append_note(context.project, note.now("gone", {}))
            answer = _erase(context, start.forget_list, journal, exports)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))
    if not answer.complete and not dry_run:
        raise typer.Exit(1)


COMMAND = Command(erase, example="unlearn erase --dry-run", answer=EraseAnswer)


def _begin(context: Context, start: Start, choice: Choice) -> Journal:
    """Check that an erasure may begin, or go on, and find what it deletes."""
    project = context.project
    check_suppression_is_read(project)
    begun = read_journal(project)
    if begun is None or begun.forget_list != start.digest:
        check_ready(context)
    check_rewritable(context, rows_of_others(context))
    objects = find_objects(context, choice)
    if begun is None:
        return Journal(forget_list=start.digest, heads=start.heads, objects=objects)
    begun = begun.going_on(objects)
    if begun.forget_list == start.digest:
        say("going on with the erasure that was interrupted")
        return begun
    update = {"forget_list": start.digest, "heads": start.heads, "evidence": False}
    return begun.model_copy(update=update)


def _erase(
    context: Context, forget_list: ForgetList, journal: Journal, gone: Collection[ExportNote]
) -> EraseAnswer:
    """Erase; every step can be repeated after a kill."""
    project = context.project
    write_journal(project, journal)
    remember_digests(context, forget_list)
    remember_arrays(context, forget_list)
    if not journal.evidence:
        if rests_on_rows(context):
            keep_evidence(project)
        journal = journal.model_copy(update={"evidence": True})
        write_journal(project, journal)
    others = rows_of_others(context)
    with progress("rewriting the dataset", None, "rows") as advance:
        rewritten = rewrite_dataset(context, advance, forget_list, others)
    nonces = refresh_nonce(context)
    for path in tracked_rows(context):
        if not any(PurePosixPath(name).is_relative_to(path) for name in others):
            run_dvc(project.root, "add", path)
    confirm_nonce(project, nonces.renewed)
    for why in nonces.without.values():
        say(f"note: {why}")
    suppress_rows(project, journal.heads)
    result = bring_up_to_date(context, EngineChoice())
    if result.verdict != "pass":
        raise ToolError(
            f"the verdict without the rows is {result.verdict}: no copy was deleted",
            "see `unlearn verify`; `unlearn erase` then goes on",
        )
    with (
        without_dvc(project),
        progress("deleting copies", journal.objects.files, "files") as advance,
    ):
        places = purge(project, journal.objects, advance)
        places += purge_local(project, experiments=journal.objects.choice.experiments)
        places += [*old_copies(context, retrained=False), *gone_copies(gone)]
    if context.params.dataset.path not in others:
        places.append(ErasedPlace(name="the dataset", state="purged", method=_REWRITTEN))
    places += places_of_others(context, listed_rows(context, forget_list, lambda _rows: None))
    search = ResidueScan(context, forget_list=forget_list)
    count = search.count() if has_bars() else None
    with progress("searching for what is left", count, "files") as advance:
        residue = search.run(advance)
    erasure = conclude(places, residue)
    record_erasure(project, erasure, journal.heads, journal.forget_list)
    if erasure.complete:
        drop_digests(project)
        drop_arrays(project)
    end_journal(project)
    rows = {file.name: file.dropped for file in rewritten.files}
    return _answer(erasure, rows=rows, pictures=rewritten.pictures, trained=result.trained)


def _preview(
    context: Context, start: Start, journal: Journal, exports: Collection[ExportNote]
) -> EraseAnswer:
    """Return what an erasure would delete, without changing anything."""
    with progress("reading the dataset", rows_of_last_run(context.project), "rows") as advance:
        rows = listed_rows(context, start.forget_list, advance)
        pictures = listed_pictures(context, start.forget_list)
    others = rows_of_others(context)
    kept = places_of_others(context, rows)
    rows = {
        file: count
        for file, count in rows.items()
        if not any(file == name or file.startswith(f"{name}/") for name in others)
    }
    pictures = 0 if others else pictures
    places = [
        ErasedPlace(name=store.place, state="purged", method=_deleted(store))
        if store.why is None
        else ErasedPlace(name=store.place, state="pending", why=store.why)
        for store in journal.objects.stores
    ]
    places += [
        ErasedPlace(name=pending.place, state="pending", why=pending.why)
        for pending in journal.objects.pending
    ]
    places += preview_local(context.project, experiments=journal.objects.choice.experiments)
    gone = {place_name(note) for note in exports}
    old = old_copies(context, retrained=True)
    places += [*(place for place in old if place.name not in gone), *gone_copies(exports)]
    places += kept
    if in_git := check_rewritable(context, others).in_git:
        why = f"git's history has {names(list(in_git))}: `git filter-repo` rewrites it"
        places.append(ErasedPlace(name="git's objects", state="pending", why=why))
    erasure = Erasure(places=tuple(sorted(places, key=lambda place: place.name)))
    unnamed = {store.place: store.unnamed for store in journal.objects.stores}
    return _answer(erasure, rows=rows, pictures=pictures, trained=[], unnamed=unnamed)


def _deleted(store: StoreObjects) -> str:
    """Return what would be deleted in DVC's cache or in a remote."""
    parts = [plural(store.objects, "old object")]
    if store.in_use:
        parts.append(f"of {plural(store.in_use, 'object')} in use those that are replaced")
    if store.runs:
        parts.append(plural(store.runs, "entry of the run cache", "entries of the run cache"))
    if store.unnamed:
        parts.append(f"{plural(len(store.unnamed), 'file')} that no commit names")
    return ", ".join(parts)


def _answer(
    erasure: Erasure,
    *,
    rows: dict[str, int],
    pictures: int,
    trained: list[str],
    unnamed: Mapping[str, Sequence[str]] | None = None,
) -> EraseAnswer:
    """Return the answer; of a dry run, with the files that no commit names by place."""
    files = unnamed or {}
    return EraseAnswer(
        complete=erasure.complete and unnamed is None,
        dry_run=unnamed is not None,
        rows=rows,
        pictures=pictures,
        trained=trained,
        places=[
            PlaceEntry(**place.model_dump(), files=list(files.get(place.name, ())))
            for place in erasure.places
        ],
    )


def _say_cost(context: Context) -> None:
    if context.params.kind == "posthoc":
        seconds = _retraining_seconds(context.project)
        took = "" if seconds is None else f", which took {seconds:,.0f} s the last time"
        say(f"the original and the methods are trained again on what is left{took}")


def _retraining_seconds(project: Project) -> float | None:
    """Return how long the training of the original and the methods took; None if not recorded."""
    known = [
        timing.seconds
        for name, timing in read_timings(project).items()
        if name in ("train", YOUNG) or name.startswith("unlearn@")
    ]
    return sum(known) if known else None


def _describe(answer: EraseAnswer) -> str:
    verb = "would leave" if answer.dry_run else "left"
    lines = [f"{plural(count, 'row')} {verb} {path}" for path, count in answer.rows.items()]
    if answer.pictures:
        lines.append(f"{plural(answer.pictures, 'picture')} {verb} the dataset's folder")
    if answer.trained:
        lines.append(f"trained again: {names(answer.trained)}")
    purged = [place for place in answer.places if place.state == "purged"]
    pending = [place for place in answer.places if place.state == "pending"]
    done = "to purge" if answer.dry_run else "purged"
    for place in purged:
        lines.append(f"{done}: {place.name}: {place.method}")
        lines += [f"  {name}" for name in place.files[:_SHOWN]]
        if len(place.files) > _SHOWN:
            lines.append(f"  and {len(place.files) - _SHOWN:,} more: --json lists them all")
    lines += [f"pending: {place.name}: {place.why}" for place in pending]
    if answer.dry_run:
        return "\n".join(lines)
    if pending:
        lines.append(f"result: not complete, {plural(len(pending), 'place')} pending")
    else:
        lines.append("result: complete")
    lines.append("next: commit, and `dvc push`")
    return "\n".join(lines)
