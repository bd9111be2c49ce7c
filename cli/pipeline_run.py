"""Running the stages that are out of date in this process, and having DVC record them at once."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from itertools import dropwhile, groupby, takewhile
from threading import Thread

from unlearn.cli.output import names, say
from unlearn.cli.run_progress import RunProgress
from unlearn.cli.stage.command import run_stage
from unlearn.cli.stage.train import describe_training
from unlearn.cli.workers import call_in_process
from unlearn.stages.audit.status import list_is_applied
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.command import run_dvc
from unlearn.stages.dvc.recording import outdated_shards
from unlearn.stages.dvc.session import Session
from unlearn.stages.dvc.stage_files import (
    FileState,
    StageFiles,
    inputs,
    later_stages,
    stage_files,
    state_of,
)
from unlearn.stages.engines.local import LocalEngine
from unlearn.stages.engines.pool import Pool
from unlearn.stages.engines.protocol import Engine
from unlearn.stages.errors import ToolError, UnlearnError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.project.paths import Project
from unlearn.stages.project.timings import PROCESSES, Timing, record_timings, side_by_side
from unlearn.stages.train.stage import Trained, remove_others
from unlearn.stages.training.method_record import remove_other_models
from unlearn.stages.training.refusals import check_refusals, refused_shards

#: How often all stages are gone through while files that they have read go on changing.
_MOST_PASSES = 5

#: What the last stages import; it takes seconds.
_LAST_STAGES = ("unlearn.cli.stage.aggregate", "unlearn.cli.stage.verify")

#: The files that a stage reads and those that it writes, as they were when it ran.
_Files = tuple[FileState, FileState]


@dataclass
class PipelineRun:
    """One run of `unlearn repro`.

    DVC says at the start which stages are out of date, and records at the end those that ran. In
    between, a stage runs if a file that it reads or writes is not as it was.

    Parameters
    ----------
    project
        The project.
    engine
        Trains the shards.
    pool
        Runs stages with code of the user; its processes are started when they are needed.
    dvc
        DVC.
    jobs
        How many shards the engine trains at a time, for the record of how long it took.
    shown
        The bar that people see.
    trained
        What the training of each shard came to.
    ran
        The stages that ran.
    training_seconds
        Wall-clock time of all trainings together, with the start of the processes that they run in.
    """

    project: Project
    engine: Engine
    pool: Pool
    dvc: Session
    jobs: int
    shown: RunProgress = field(default_factory=RunProgress)
    trained: dict[str, Trained] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    training_seconds: float = 0.0
    _current: dict[str, _Files] = field(default_factory=dict)
    _unrecorded: set[str] = field(default_factory=set)
    _running: str = ""

    def run(self, context: Context) -> None:
        """Bring everything up to date.

        Raises
        ------
        UnlearnError
            What a stage raised. The stages before it are recorded, except trainings of shards: the
            next run finds these done.
        ToolError
            If files that stages read go on changing, or DVC failed.
        """
        loading = self._preload(context)
        self._current = self._up_to_date(context)
        if loading is not None:
            # Else the stages would wait for it, and what they record of their time would be wrong.
            loading.join()
        for _ in range(_MOST_PASSES):
            try:
                self._run_changed(context)
            except Exception:
                # Whatever it is: also what the user's own code raised.
                if self._earlier_changed(context):
                    # It may have failed on what changed: that is put right first.
                    context = open_project(self.project)
                    continue
                with suppress(UnlearnError):  # the stage's error is the one to report
                    self.dvc.record(context.params, self._finished())
                raise
            if self._unrecorded:
                before = self._inputs(context)
                # What changed after a stage read it is for another pass, not to be recorded.
                if self._changed(context):
                    context = open_project(self.project)
                    continue
                self.dvc.record(context.params, self._unrecorded)
                self._unrecorded.clear()
                if self._inputs(context) != before:
                    context = open_project(self.project)
                    continue
            break
        else:
            raise ToolError(
                "files that the stages read go on changing; what was recorded last may be older",
                "run `unlearn repro` again when nothing else writes into the project",
            )
        if later := later_stages(self.project, context.params):
            run_dvc(self.project.root, "repro", *later)

    def _up_to_date(self, context: Context) -> dict[str, _Files]:
        """Return the stages that are up to date by dvc.lock, with their files."""
        own = stage_files(self.project, context.params)
        # Looked at before DVC does: what changes after this is seen.
        states = {name: _state(files) for name, files in own.items()}
        stale = self.dvc.stale()
        if earlier := sorted(stale - set(own)):
            # Stages of the user's own, and data that DVC tracks: what ours read.
            if stages := [name for name in earlier if not name.endswith(".dvc")]:
                say(f"first {names(stages)}, which changed and which the dataset is made by")
            run_dvc(self.project.root, "repro", *earlier)
            states = {name: _state(files) for name, files in own.items()}
            stale = self.dvc.stale()
        if not list_is_applied(self.project):
            # DVC took a line that came while the stage ran for applied.
            stale.add("forget")
        return {name: state for name, state in states.items() if name not in stale}

    def _run_changed(self, context: Context) -> None:
        """Run every stage whose files changed, in order."""
        own = stage_files(self.project, context.params)
        for group, members in groupby(own, key=lambda name: name.partition("@")[0]):
            files = {name: own[name] for name in members}
            stale = self._not_current(files)
            self.shown.group(_from(own, group), lambda: self._to_run(own, group))  # noqa: B023 - it is called at once
            if group == "train" and context.params.kind == "exact":
                # Shards that DVC takes for up to date, but whose model has another lineage.
                stale = sorted({*stale, *(f"train@{name}" for name in outdated_shards(context))})
            if stale:
                self._run_group(context, group, {name: files[name] for name in stale})

    def _earlier_changed(self, context: Context) -> bool:
        """Return whether files of a stage before the one that failed have changed since it ran."""
        own = stage_files(self.project, context.params)
        earlier = takewhile(lambda name: name.partition("@")[0] != self._running, own)
        return bool(self._not_current({name: own[name] for name in earlier}))

    def _run_group(self, context: Context, group: str, files: dict[str, StageFiles]) -> None:
        self._running = group
        before = {name: state_of(found.deps) for name, found in files.items()}
        self.shown.begin(list(files), self.jobs if _is_sharded(context, group) else 1)
        for name in self._ended(context, group, list(files)):
            self.shown.end(name)
            self._unrecorded.add(name)
            self.ran.add(name)
            self._current[name] = (before[name], state_of(files[name].outs))

    def _ended(self, context: Context, group: str, members: list[str]) -> Iterator[str]:
        """Run stages of one kind, and yield the name of each when it has ended."""
        if _is_sharded(context, group):
            yield from self._train(context, [name.partition("@")[2] for name in members])
            return
        if group == "unlearn":
            remove_other_models(context)
        for name in members:
            if _runs_own_code(context, group):
                call_in_process(self.pool, context.params.train, _run_there, self.project, name)
            else:
                run_stage(context, name)
            yield name

    def _train(self, context: Context, shards: list[str]) -> Iterator[str]:
        remove_others(context)
        started = time.perf_counter()
        for done in self.engine.train(context, shards):
            self.trained[done.shard] = done
            say(describe_training(done))
            yield f"train@{done.shard}"
        trained = [self.trained[name] for name in shards]
        timings = {name: timing for one in trained for name, timing in one.timings.items()}
        elapsed = time.perf_counter() - started
        work = side_by_side([one.timing.seconds for one in trained], self.jobs)
        waited = max(0.0, elapsed - work)
        if not isinstance(self.engine, LocalEngine):
            # `plan` is about this machine: how long nodes and queues take tells it nothing.
            self.training_seconds += elapsed
        elif min(self.jobs, len(shards)) > 1:
            self.training_seconds += work + waited
            timings[PROCESSES] = Timing(round(waited, 4))
        else:
            self.training_seconds += work
        record_timings(self.project, timings)
        if any(one.reason for one in trained):
            check_refusals(context, refused_shards(context))

    def _to_run(self, own: dict[str, StageFiles], group: str) -> set[str]:
        """Return the stages from a group on that will run, as far as is known."""
        names = _from(own, group)
        found = set(self._not_current({name: own[name] for name in names}))
        # What was not trained yet makes the last stages run, too.
        return found | ({"aggregate", "verify"} & set(names) if found else set())

    def _not_current(self, files: dict[str, StageFiles]) -> list[str]:
        return [name for name, found in files.items() if self._current.get(name) != _state(found)]

    def _changed(self, context: Context) -> bool:
        return bool(self._not_current(stage_files(self.project, context.params)))

    def _finished(self) -> list[str]:
        """Return the stages to record when a later one failed.

        A training of a shard is known by its lineage, and is recorded by the run that succeeds: in
        the order of the shards, as `dvc repro` does.
        """
        return [name for name in self._unrecorded if not name.startswith("train@")]

    def _inputs(self, context: Context) -> FileState:
        return state_of(inputs(stage_files(self.project, context.params)))

    def _preload(self, context: Context) -> Thread | None:
        """Import what the stages need, while DVC looks at the files."""
        if self.project.lock.is_file() and list_is_applied(self.project):
            return None  # most likely, there is nothing to do
        # Not a daemon: Python may crash if it ends in the middle of an import of torch.
        thread = Thread(target=_import, args=(find_spec(context.params.train.model).preload,))
        thread.start()
        return thread


def _run_there(project: Project, name: str) -> None:
    """Run a stage in a process of its own."""
    run_stage(open_project(project), name)


def _import(modules: Iterable[str]) -> None:
    """Import modules; one that cannot be imported is an error of the stage that needs it."""
    for name in (*modules, *_LAST_STAGES):
        with suppress(ImportError):
            import_module(name)


def _state(files: StageFiles) -> _Files:
    return state_of(files.deps), state_of(files.outs)


def _from(own: dict[str, StageFiles], group: str) -> list[str]:
    """Return the stages from the first of a group on."""
    return list(dropwhile(lambda name: name.partition("@")[0] != group, own))


def _is_sharded(context: Context, group: str) -> bool:
    """Return whether the stages of a group are trainings of shards, which the engine does."""
    return group == "train" and context.params.kind == "exact"


def _runs_own_code(context: Context, group: str) -> bool:
    """Return whether a stage runs code of the user, which may change its process for good."""
    params = context.params
    if group == "recipe":
        tried = find_spec(params.train.model).trial == "two fits"
        return tried and params.train.code_path is not None
    paths = [*params.train.code_paths, *(params.posthoc.code_paths if params.unlearn else ())]
    return group not in ("shard", "forget") and bool(paths)
