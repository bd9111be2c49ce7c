"""`unlearn tune`: settings of a post-hoc method, found on rows that no test looks at."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from unlearn.cli import completion, panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.canary import wait_for_dvc
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural, progress
from unlearn.cli.text_edits import replace_file, restored_on_error, text_of, with_entries
from unlearn.stages.context import PosthocContext, load_params, open_project
from unlearn.stages.errors import InputError
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project, find_project

if TYPE_CHECKING:
    from unlearn.stages.unlearn.tuning import Tuning

#: Enough for small networks to be told apart, and seconds for each of them.
_ROWS = 5_000


class Sample(AnswerPart):
    """The rows that the search forgets.

    Parameters
    ----------
    rows
        How many.
    of
        What they are: `canaries` or `retained rows`.
    """

    rows: int
    of: str


class Passes(AnswerPart):
    """How often a method read each row.

    Parameters
    ----------
    forget, retain
        Rows to forget, and all others.
    """

    forget: float
    retain: float


class TrialAnswer(AnswerPart):
    """One choice of settings.

    Parameters
    ----------
    trial
        Its number; 0 has the settings of params.yaml.
    settings
        All settings of the method.
    distance
        From retraining, in nats: the sum of the next two. None where there is no model.
    on_sample, on_calibration
        On the rows to forget and on the calibration half of the holdout.
    passes
        Over the rows.
    stopped_by
        What ended the method.
    why_not
        Why there is no model.
    """

    trial: int
    settings: dict[str, Any]
    distance: float | None
    on_sample: float | None
    on_calibration: float | None
    passes: Passes
    stopped_by: str | None
    why_not: str | None


class Distance(AnswerPart):
    """Distance from retraining, in nats.

    Parameters
    ----------
    before, after
        With the settings as they were, and with the best ones. None where there is no model.
    """

    before: float | None
    after: float | None


class TuneAnswer(Answer):
    """A search.

    Parameters
    ----------
    method
        What was searched for.
    rows, sample, calibration_rows
        Rows that were searched on, those of them that were forgotten, and the rows of the
        calibration half.
    trials
        All that was tried, in order.
    best
        The number of the best trial.
    distance
        Before and after.
    improved
        Whether a draw was better than the settings of params.yaml.
    settings
        Those that change.
    listed
        Whether `unlearn.methods` names the method.
    wrote
        Files that were written.
    """

    method: str
    rows: int
    sample: Sample
    calibration_rows: int
    trials: list[TrialAnswer]
    best: int
    distance: Distance
    improved: bool
    settings: dict[str, Any]
    listed: bool
    wrote: list[str]


def tune(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            autocompletion=completion.methods,
            help="The method, by its name in params.yaml.",
        ),
    ],
    budget: Annotated[int, typer.Option(metavar="N", min=1, help="The number of settings to try.")],
    rows: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="The largest number of rows to search on.",
            rich_help_panel=panels.DATA,
        ),
    ] = _ROWS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Search without changing any file.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Search for settings of a post-hoc method that bring it closer to retraining.

    The search does not use the rows that `unlearn verify` tests on. Settings that are better are
    written to params.yaml.
    """
    project = find_project()
    with exclusive(project.lock_file("repro"), "another `unlearn repro`"):
        opened = open_project(project)
        if opened.params.kind == "exact":
            raise InputError(
                "this project has shards, and no method to tune",
                "`unlearn init --template posthoc` creates a project for post-hoc methods",
            )
        context = opened.posthoc()
        if context.params.modality == "text":
            raise InputError(
                "tune does not support methods for language models",
                "docs/language-models.md says what was measured; set unlearn.language by hand",
            )
        # Torch and scikit-learn take seconds to load; the help and the refusals above need neither.
        from unlearn.stages.unlearn import tuning  # noqa: PLC0415

        tuning.check_tunable(method)
        if not dry_run:
            _check_editable(context, method, tuning.candidates(context, method, 1))
        with progress(f"tuning {method}", budget + 3, "trials") as advance:
            found = tuning.tune(context, method, budget, rows, advance)
        written = {} if dry_run else _changes(project, found, tuning.trail(found))
        _write(project, written)
    wrote = [path.relative_to(project.root).as_posix() for path in written]
    result = _summary(context, found, wrote)
    emit(result, as_json=as_json, text=lambda: _describe(result))


COMMAND = Command(tune, example="unlearn tune scrub --budget 20", answer=TuneAnswer)


def _check_editable(
    context: PosthocContext, method: str, candidates: Iterable[dict[str, Any]]
) -> None:
    """Refuse before the search what could not be written after it."""
    wait_for_dvc(context.project)
    for settings in candidates:
        _with_settings(context.project, method, settings)


def _with_settings(project: Project, method: str, settings: dict[str, Any]) -> str:
    return with_entries(text_of(project.params), ("unlearn", "settings", method), settings)


def _changes(project: Project, found: "Tuning", trail: bytes) -> dict[Path, bytes]:
    """Return the new content of what is to change, by file."""
    changes = {}
    if found.changes:
        text = _with_settings(project, found.method, found.changes)
        changes[project.params] = text.encode()
    changes[project.tuning_trail(found.method)] = trail
    return changes


def _write(project: Project, changes: dict[Path, bytes]) -> None:
    """Write all files or none."""
    if project.params in changes:
        wait_for_dvc(project)
    with restored_on_error(changes):
        for path, content in changes.items():
            replace_file(path, content)
        load_params(project.params)


def _summary(context: PosthocContext, found: "Tuning", wrote: list[str]) -> TuneAnswer:
    now, best = found.trials[0], found.best
    return TuneAnswer(
        method=found.method,
        rows=found.rows,
        sample=Sample(rows=found.sample, of=found.sample_of),
        calibration_rows=found.calibration,
        trials=[TrialAnswer(**trial.as_json()) for trial in found.trials],
        best=best.number,
        distance=Distance(before=now.distance, after=best.distance),
        improved=best is not now,
        settings=found.changes,
        listed=found.method in context.unlearn.methods,
        wrote=wrote,
    )


def _describe(answer: TuneAnswer) -> str:
    sample, distance = answer.sample, answer.distance
    noun = ("canary", "canaries") if sample.of == "canaries" else ("retained row", None)
    lines = [
        (
            f"{answer.method}: {plural(len(answer.trials) - 1, 'draw')} tried, to forget "
            f"{plural(sample.rows, *noun)} in a model of {answer.rows:,}"
        ),
        (
            f"distance from retraining: {_number(distance.before)} as it was, "
            f"{_number(distance.after)} at best"
        ),
    ]
    if not answer.improved:
        lines.append("no trial was better: the settings are unchanged")
    now = answer.trials[0].settings
    lines += [f"  {name}: {now[name]} -> {value}" for name, value in answer.settings.items()]
    if answer.wrote:
        lines.append(f"wrote {', '.join(answer.wrote)}")
    if not answer.listed:
        lines.append(f"note: unlearn.methods does not name {answer.method}")
    elif "params.yaml" in answer.wrote:
        lines.append("next: unlearn repro")
    return "\n".join(lines)


def _number(distance: float | None) -> str:
    return "none, it does not apply" if distance is None else f"{distance:.4f}"
