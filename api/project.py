"""A project in Python: requests, runs and evidence, with the answers of the commands."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Literal

from unlearn.cli.audit import AuditAnswer, compare_states
from unlearn.cli.engine_choice import EngineChoice, EngineName
from unlearn.cli.forget import ForgetAnswer, Handling, record_request
from unlearn.cli.output import heard_by
from unlearn.cli.plan import make_plan
from unlearn.cli.plan_answer import PlanAnswer
from unlearn.cli.repro import ReproAnswer
from unlearn.cli.verify import find_shown
from unlearn.cli.verify_answer import VerifyAnswer
from unlearn.requests import Ids, wanted_ids
from unlearn.run import call, hear
from unlearn.stages.context import Context, open_project
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import Filing
from unlearn.stages.project import paths
from unlearn.stages.requests.id_file import understand
from unlearn.stages.requests.incoming import Incoming
from unlearn.wording import in_python


class Project:
    """A project of `unlearn`: the folder with its `params.yaml` and `dvc.yaml`.

    Each method does what the command of the same name does, and returns the same answer as
    `--json` prints. The files of the project are read again each time, and the current folder
    plays no part. Messages go to the logger `unlearn`: notes as warnings, the rest as information.

    Parameters
    ----------
    root
        The folder. `Project.open` finds it from any folder in the project.

    Attributes
    ----------
    root : pathlib.Path
        The folder, as an absolute path.

    Examples
    --------
    >>> import unlearn
    >>> project = unlearn.Project.open("readmission")
    >>> project.forget(ids=["r0042", "r1001"], ticket="T-17").added
    2
    >>> project.plan().records
    2
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    @classmethod
    def open(cls, path: str | Path = ".") -> "Project":
        """Return the project that a folder is in.

        Parameters
        ----------
        path
            The folder of the project, or one below it; or a file in them.

        Raises
        ------
        InputError
            If there is no such folder, or it is in no project.
        """
        start = Path(path)
        if not start.exists():
            raise InputError(f"there is no folder {start.name or start}")
        start = start if start.is_dir() else start.parent
        try:
            return cls(paths.find_project(start).root)
        except InputError as error:
            message = error.message.replace("this folder", start.resolve().name or "/", 1)
            raise InputError(message, *error.hints, facts=error.facts) from None

    def __repr__(self) -> str:
        """Return how the project is opened again."""
        return f"Project({str(self.root)!r})"

    @in_python
    def forget(
        self,
        ids: Ids | None = None,
        subjects: Ids | None = None,
        *,
        ticket: str | None = None,
        received: date | None = None,
        regime: Literal["gdpr", "ccpa", "drop"] | None = None,
        unknown: Literal["refuse", "skip", "suppress"] = "refuse",
        strict: bool = False,
        dry_run: bool = False,
    ) -> ForgetAnswer:
        """Add records to the forget list; `repro` then carries the request out.

        A request is added as a whole or not at all.

        Parameters
        ----------
        ids
            Ids of records: texts or numbers in a list, a column of a table, or any other iterable;
            or a `pathlib.Path` of a file with an id on each line. A single text is an error,
            because it could be an id or the name of a file.
        subjects
            Ids of persons, likewise. All records of these persons are forgotten.
        ticket
            A reference for the request log, such as T-17. It must not be a person's name.
        received
            The day when the request was received; by default today.
        regime
            The law that the request was made under, which gives the due date; by default
            `requests.regime` in params.yaml.
        unknown
            What happens to ids that the dataset does not have: they are an error (`refuse`), are
            left out (`skip`), or are put on the list all the same, so that their rows are
            forgotten whenever they appear (`suppress`).
        strict
            Whether to refuse the request if rows of look-alikes of the given ids would stay.
        dry_run
            Whether to change nothing.

        Returns
        -------
        ForgetAnswer
            What was added, and the shards that it touches.

        Raises
        ------
        InputError
            If no ids are given, or the request cannot be added. Nothing is changed then.
        BusyError
            If another command is changing the list.
        """
        wanted = wanted_ids(ids, subjects)
        if wanted is None:
            raise InputError("no records to forget: give ids or subjects")
        if unknown not in ("refuse", "skip", "suppress"):
            raise InputError("unknown: is one of refuse, skip and suppress")
        with self._context() as context:
            wanted, notes = understand(context, wanted)
            handling = Handling(
                ticket, Filing(received, regime), unknown, strict=strict, dry_run=dry_run
            )
            return record_request(context, Incoming(wanted, notes=tuple(notes)), handling)

    @in_python
    def plan(
        self, ids: Ids | None = None, subjects: Ids | None = None, *, jobs: int | None = None
    ) -> PlanAnswer:
        """Return what the next run would retrain, and what it would cost. Nothing is changed.

        Parameters
        ----------
        ids, subjects
            Ids to plan for in addition to the forget list; see `forget`.
        jobs
            The number of shards that are trained in parallel. The default is the number of
            processors.

        Returns
        -------
        PlanAnswer
            The stages that would run, the rows that would be read, and seconds. Of a project with
            post-hoc methods it is a `MethodsPlanAnswer`.

        Raises
        ------
        InputError
            If an id is not in the dataset, or the settings are wrong.
        BusyError
            If another plan reads the dataset.
        """
        _check_jobs(jobs)
        wanted = wanted_ids(ids, subjects)
        with self._context() as context:
            return make_plan(context, wanted, jobs=jobs or os.cpu_count() or 1)

    @in_python
    def repro(
        self,
        *,
        jobs: int | None = None,
        engine: Literal["local", "ray", "command"] = "local",
        command: str | None = None,
        address: str | None = None,
        now: bool = False,
        switch_off: bool = False,
        switch_on: bool = False,
    ) -> ReproAnswer:
        """Bring the models up to date with the dataset, the settings and the forget list.

        The stages run in a process of their own, so that threads and settings of libraries in this
        process do not change the models: they are those of `unlearn repro` in every byte. If this
        process is interrupted or ends, the run ends too.

        Parameters
        ----------
        jobs
            The number of shards to train in parallel. The default is the number of processors.
        engine
            Where shards are trained: in processes of this machine, on a Ray cluster, or by a
            command for each shard.
        command, address
            What the engines `command` and `ray` take; see `unlearn repro --help`.
        now
            Whether not to wait for the batch of `requests.batch`, and to log that.
        switch_off, switch_on
            Whether slices that hold forgotten rows are switched off instead of being trained
            again; and whether all are switched on.

        Returns
        -------
        ReproAnswer
            What was trained, and the verdict. If requests wait for their batch, its `batch` says
            so, and nothing was run.

        Raises
        ------
        InputError
            If settings or data are wrong, or a line has left the forget list.
        BusyError
            If another run goes on.
        ToolError
            If DVC or git failed, or a process died.
        """
        _check_jobs(jobs)
        try:
            name = EngineName(engine)
        except ValueError:
            raise InputError("engine: is one of local, ray and command") from None
        EngineChoice(name, jobs, command, address).check()
        run = {"now": now, "switch_off": switch_off, "switch_on": switch_on}
        answer = call(
            "repro",
            self._found.root,
            engine=name.value,
            jobs=jobs,
            command=command,
            address=address,
            run=run,
        )
        return ReproAnswer.model_validate(answer)

    @in_python
    def verify(self, *, full: bool = False, before: str | None = None) -> VerifyAnswer:
        """Return the evidence of the last run, and whether it belongs to the present state.

        Parameters
        ----------
        full
            Whether to read every byte of the models, also of files that look unchanged.
        before
            A git revision whose report the model's quality is compared with.

        Returns
        -------
        Report
            `verdict` is `pass` only if the last run's is, the report has its seal and belongs to
            the present state, and the models on this machine are those that it is about; `passed`
            says so. `reasons` says why it is another. `exactness`, `membership` and `utility` have
            what was measured, `methods` the post-hoc methods.

        Raises
        ------
        InputError
            If there is no report, or the project is not as it must be.
        """
        with heard_by(hear):
            return find_shown(self._found, full=full, before=before).answer()

    @in_python
    def audit(
        self,
        old: str = "HEAD",
        new: str | None = None,
        *,
        rerun: int | Literal["all"] | None = None,
    ) -> AuditAnswer:
        """Compare two states of the pipeline and explain every change.

        Parameters
        ----------
        old, new
            Two git revisions; None is the working tree.
        rerun
            How many shards of the newer state to retrain from its data as a check, or `all`. They
            are trained in a process of their own, as by `repro`.

        Returns
        -------
        AuditAnswer
            `verdict` is `consistent` if every change has a cause and every cause an effect;
            `unexplained` has a sentence for each other one.

        Raises
        ------
        InputError
            If a revision is not known, or has no dvc.lock.
        """
        for name, revision in (("old", old), ("new", new)):
            if revision is not None and (not revision or revision.startswith("-")):
                raise InputError(f"{name}: is no git revision")
        if rerun is not None and rerun != "all" and (isinstance(rerun, bool) or rerun < 1):
            raise InputError("rerun: is a number of shards, 1 or more, or `all`")
        if rerun is not None:
            answer = call("audit", self._found.root, old=old, new=new, rerun=rerun)
            return AuditAnswer.model_validate(answer)
        with heard_by(hear):
            return compare_states(self._found, old, new)

    @in_python
    def load_model(self, *, trust_code: bool = False) -> Any:
        """Return the final model, as `unlearn.load_model` does.

        Code of your own in the model's folder is run if it has the same bytes as the project's own
        file, as by `unlearn predict`.

        Parameters
        ----------
        trust_code
            Whether to run such code in any case, and load the types that it names.

        Returns
        -------
        TableClassifier, TableRegressor or LanguageModel
            The model, ready to answer.

        Raises
        ------
        InputError
            If there is no whole final model, or it carries code that was not allowed.
        """
        # What is imported depends on the model.
        from unlearn.stages.final_model.loading import load_own_model  # noqa: PLC0415

        return load_own_model(self._found, trust_code=trust_code)

    @property
    def category_key(self) -> str:
        """What categories are keyed with in a project of `dataset.category_texts: keyed`, in hex.

        It follows from the project key, and reveals nothing else that does. Machines without the
        project key need it to predict: in the environment variable UNLEARN_CATEGORY_KEY, or as
        `load_model(..., category_key=...)`.

        Raises
        ------
        InputError
            If the categories are not keyed, or the project key is not at hand.
        """
        from unlearn.stages.final_model.category_key import category_key_of  # noqa: PLC0415

        return category_key_of(self._found)

    @property
    def _found(self) -> paths.Project:
        """The project's files, checked."""
        return paths.find_project(self.root)

    @contextmanager
    def _context(self) -> Iterator[Context]:
        with heard_by(hear):
            yield open_project(self._found)


def _check_jobs(jobs: int | None) -> None:
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise InputError("jobs: is a whole number, 1 or more")
