"""`unlearn doctor`: whether this project, and this machine, are as they must be."""

import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer
from unlearn.cli.doctor_answer import DoctorAnswer, PlaceEntry
from unlearn.cli.examples.authors import AUTHORS_PATH
from unlearn.cli.examples.digits import DIGITS_PATH
from unlearn.cli.examples.visits import VISITS_PATH
from unlearn.cli.init.repository.joining import stands_apart
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural, progress
from unlearn.cli.text_edits import text_of
from unlearn.stages.audit.copies import Search, store_megabytes
from unlearn.stages.audit.estimator_types import notes_on_types, stored_rows
from unlearn.stages.audit.exports import EXPORTS, exports_place, read_exports
from unlearn.stages.audit.git_places import docker_finding, foreign_names, git_places, own_paths
from unlearn.stages.audit.identity import line_end_findings, look_alike_findings
from unlearn.stages.audit.leftovers import Leftovers, clean_leftovers
from unlearn.stages.audit.places import Place, unseen
from unlearn.stages.audit.stores import Stores, find_stores
from unlearn.stages.config.params import Params
from unlearn.stages.config.settings_files import FILES
from unlearn.stages.context import Context, load_params, open_project
from unlearn.stages.dvc.lockfile import load_lock
from unlearn.stages.dvc.pipeline import (
    check_code_is_a_dependency,
    check_figures_are_where_they_belong,
    check_lists_are_read,
    check_rows_are_dependencies,
    read_pipeline,
    stage_names,
)
from unlearn.stages.erasure.dataset.oracles import Testable, find_testable
from unlearn.stages.errors import InputError, UnlearnError
from unlearn.stages.estimators.registry import find_spec, text_options
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.suppressed import SUPPRESSED
from unlearn.stages.project.files import TEMPORARY_PREFIX
from unlearn.stages.project.git import git
from unlearn.stages.project.git import ignored as ignored_files
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.project.shared import BEGIN, END, is_shared
from unlearn.stages.rows.tokens import DEMO_KEY, Key
from unlearn.stages.text.base import find_base, require_libraries
from unlearn.stages.training.method_record import other_models
from unlearn.stages.training.unplanned import unplanned_files
from unlearn.stages.verify.membership.registry import deciding_attack

_PACKAGES = ("dvc-unlearn", "dvc", "torch", "scikit-learn", "numpy", "pyarrow")

#: Of the extra `llm`.
_LANGUAGE_PACKAGES = ("transformers", "peft", "tokenizers")

#: The settings and the pipeline; a revision without one of them cannot be audited.
_SETTINGS = ("params.yaml", *FILES, "dvc.yaml")

#: What git has to keep; an entry of the log stands for all of them, and so does a receipt.
_FOR_GIT = (
    *_SETTINGS,
    "dvc.lock",
    "data/forget_list.txt",
    SUPPRESSED,
    "data/requests/x.json",
    "data/receipts/0.json",
    "reports/verdict.json",
)

#: What dvc.yaml must have for these settings; `unlearn repro` stops without it.
_PIPELINE_CHECKS = (
    check_lists_are_read,
    check_rows_are_dependencies,
    check_code_is_a_dependency,
    check_figures_are_where_they_belong,
)


def doctor(as_json: JsonFlag = False) -> None:
    """Check the project and this machine for problems.

    Looks at the environment, the key, dvc.lock and git, and for copies of forgotten rows in the
    project, in DVC's cache and in its remotes. Deletes what killed runs left half-written.
    Exits with 1 if there is a finding.
    """
    project = find_project()
    packages = (*_PACKAGES, *(_LANGUAGE_PACKAGES if _is_language(project) else ()))
    facts = {name: _version(name) for name in packages} | _extra(project)
    facts["python"] = platform.python_version()
    leftovers = clean_leftovers(project)
    findings = list(_findings(project, leftovers))
    places = list(search_places(project))
    exports, notes_on_exports = _exports(project)
    places += exports
    findings += [finding for place in places for finding in place.findings]
    testable = _testable(project)
    answer = DoctorAnswer(
        environment=facts,
        findings=findings,
        healthy=not findings,
        testable_md5s=testable.md5s,
        notes=[
            *testable.notes,
            *_notes_on_types(project),
            *notes_on_exports,
            *notes_on_marks(project),
        ],
        places=[
            PlaceEntry(
                name=place.name,
                looked=place.looked,
                objects=place.objects,
                findings=len(place.findings),
                why_not=place.why_not,
            )
            for place in places
        ],
        cleaned=list(leftovers.cleaned),
    )
    emit(answer, as_json=as_json, text=lambda: _describe(answer))
    if findings:
        raise typer.Exit(1)


COMMAND = Command(doctor, example="unlearn doctor", answer=DoctorAnswer)


def notes_on_marks(project: Project) -> list[str]:
    """Say if the comments around stages in dvc.yaml were moved."""
    try:
        if not is_shared(project.root) or stands_apart(text_of(project.pipeline)):
            return []
    except (OSError, InputError):
        return []  # a finding of its own
    note = (
        f"dvc.yaml: DVC or a formatter moved the comments `{BEGIN}` and `{END}`, which marked the "
        "stages of unlearn. No command needs them. To remove unlearn, delete its stages by their "
        "names"
    )
    return [note]


def _is_language(project: Project) -> bool:
    try:
        return load_params(project.params).modality == "text"
    except InputError:
        return False  # a finding of its own


def _extra(project: Project) -> dict[str, str]:
    """Return the version of the library that only this project's model needs."""
    try:
        extra = find_spec(load_params(project.params).train.model).extra
    except InputError:
        return {}  # a finding of its own
    return {} if extra is None else {extra.name: extra.version or "missing"}


def _exports(project: Project) -> tuple[list[Place], list[str]]:
    """Return exported models as a place, if there are any, and notes on them."""
    try:
        if not read_exports(project):
            return [], []
        place, notes = exports_place(project, load_params(project.params))
    except UnlearnError as error:
        return [unseen(EXPORTS, error.message)], []
    return [place], notes


def _notes_on_types(project: Project) -> list[str]:
    try:
        return notes_on_types(load_params(project.params))
    except InputError:
        return []  # a finding of its own


def _testable(project: Project) -> Testable:
    try:
        return find_testable(project, load_params(project.params).dataset)
    except UnlearnError:
        return Testable(0, ())  # findings of their own


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _findings(project: Project, leftovers: Leftovers) -> Iterator[str]:
    yield from _lock_findings(project)
    yield from _git_findings(project)
    if leftovers.in_use:
        yield (
            f"{plural(len(leftovers.in_use), 'half-written file')} of a process that may still "
            f"run, such as {leftovers.in_use[0]}"
        )
    if (unprotected := docker_finding(project)) is not None:
        yield unprotected
    try:
        params = load_params(project.params)
        yield from _params_findings(project, params)
        context = open_project(project)
        deciding_attack(params)  # an error where there is none of that name
        if context.key.is_demo:
            yield (
                "the project key is the published demo key: anyone can compute its tokens; "
                "never use it with real data"
            )
        yield from _key_file_findings(project)
        yield from _list_findings(context)
        yield from look_alike_findings(context)
        with suppress(InputError):  # of a lock that was cut short, a finding of its own
            yield from line_end_findings(project)
    except UnlearnError as error:
        yield error.message


def _lock_findings(project: Project) -> Iterator[str]:
    try:
        lock = load_lock(project)
    except InputError as error:
        yield f"{error.message}; `unlearn repro` repairs it"
        return
    try:
        described = read_pipeline(project)
        expected = stage_names(load_params(project.params))
    except InputError:
        return  # reported with params.yaml
    for name in dict.fromkeys(name.partition("@")[0] for name in expected):
        if name not in described:
            yield f"dvc.yaml has no stage {name}"
    if lock and (missing := [name for name in expected if name not in lock]):
        yield (
            f"dvc.lock has no entry for {', '.join(missing[:5])}: a run was stopped, or the lock "
            "was cut short; `unlearn repro` repairs it"
        )
    if gone := sorted(lock.keys() - set(expected)):
        yield (
            f"dvc.lock has entries of stages that no longer exist: {', '.join(gone)}; "
            "DVC keeps them, and you can delete them"
        )


def _git_findings(project: Project) -> Iterator[str]:
    done = subprocess.run(
        ["git", "ls-files", "--", *own_paths(project)],
        cwd=project.root,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        yield "this is not a git repository: audits compare files that git tracks"
        return
    if tracked := foreign_names(done.stdout.splitlines(), _public_files(project)):
        yield f"git tracks files that must not be in git: {', '.join(tracked[:5])}"
    models = ["models/x"]
    if is_shared(project.root):
        models = ["models/shard_models/x", "models/final_model/x"]
    for name in ("data/shards/x", "data/forget_set/x", *models, "unlearn.key", ".unlearn/x"):
        ignored = subprocess.run(
            ["git", "check-ignore", "--quiet", "--no-index", name], cwd=project.root, check=False
        )
        if ignored.returncode == 1:
            yield f".gitignore does not cover {name.removesuffix('/x')}"
    if hidden := ignored_files(project.root, *_FOR_GIT):
        hidden = [re.sub(r"/[x0]\.json$", "/*.json", name) for name in hidden]
        yield f"git ignores files that it has to keep: {', '.join(hidden)}"
    kept = (git(project.root, "ls-files", "-z", "--", *_SETTINGS) or b"").decode().split("\0")
    present = [name for name in _SETTINGS if (project.root / name).is_file()]
    missing = [name for name in present if name not in kept]
    if missing and missing != present:  # all of them: a project that was just created
        pronoun = "it" if len(missing) == 1 else "them"
        yield f"git does not track {names(missing)}; `git add` adds {pronoun}"


def _public_files(project: Project) -> list[str]:
    """Return the dataset's path where it is an example's, and text that is about nobody in it."""
    try:
        params = load_params(project.params)
    except InputError:
        return []
    found = [] if params.generic is None else [params.generic]
    is_demo = params.key_check == Key(DEMO_KEY).check
    if is_demo or params.dataset.path in (DIGITS_PATH, VISITS_PATH, AUTHORS_PATH):
        found.append(params.dataset.path)
    return found


def _params_findings(project: Project, params: Params) -> Iterator[str]:
    yield from stored_rows(project, params)
    try:
        find_spec(params.train.model).check_installed()
    except InputError as error:
        yield "; ".join((error.message, *error.hints))
    for check in _PIPELINE_CHECKS:
        try:
            check(project, params)
        except InputError as error:
            yield "; ".join((error.message, *error.hints))
    if params.modality == "text":
        yield from _base_findings(project, params)
    named = set(params.sharding.shards) if params.kind == "exact" else set()
    folder = project.shard_models
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if others := present - named - {".gitignore"}:
        yield f"models of shards that shards.yaml does not name: {', '.join(sorted(others))}"


def _base_findings(project: Project, params: Params) -> Iterator[str]:
    options = text_options(params.train)
    try:
        require_libraries()
        find_base(options, project.root)
    except InputError as error:
        yield error.message


def _key_file_findings(project: Project) -> Iterator[str]:
    if project.key.is_file() and project.key.stat().st_mode & 0o077:
        yield "unlearn.key can be read by others; `chmod 600 unlearn.key`"


def _list_findings(context: Context) -> Iterator[str]:
    unplanned = [
        name
        for name in unplanned_files(context.project, context.params)
        if not name.startswith(("models/shard_models/", "models/unlearned/"))
        and TEMPORARY_PREFIX not in name
    ]
    if unplanned:
        yield (
            f"{plural(len(unplanned), 'file')} below models/ that no stage wrote, such as "
            f"{unplanned[0]}; an older model there would outlive every request"
        )
    if others := {str(Path(name).parent) for name in other_models(context)}:
        yield (
            f"models of methods that params.yaml does not name: {', '.join(sorted(others))}; "
            "`unlearn repro` deletes them"
        )

    forget_list = context.read_list()
    if forget_list.by_hand:
        yield (
            f"{plural(forget_list.by_hand, 'line')} of the forget list written by hand, as raw "
            "ids; `unlearn repro` replaces them by tokens, but git's history keeps them"
        )
    ledger = check_ledger(context.project, context.params.ledger.branch, context)
    problem = ledger.problem()
    if problem is not None:
        yield problem.message


def search_places(project: Project) -> Iterator[Place]:
    """Search every place where copies can be; name those that cannot be searched."""
    stores = find_stores(project)
    try:
        context = open_project(project)
        search = Search(context, context.read_list())
    except UnlearnError:
        why = "the key, the settings or the forget list cannot be read"
        unsearched = ("the dataset", "the shards", *stores.folders)
        yield from (unseen(name, why) for name in unsearched)
    else:
        yield from search.project_places()
        with progress("searching objects", _megabytes(stores), "MB") as advance:
            for name, folder in stores.folders.items():
                yield search.store_place(name, folder, advance)
    yield from stores.others
    yield from git_places(project, _public_files(project))


def _megabytes(stores: Stores) -> int | None:
    """Return how much there is to search, for people who wait; None where nobody does."""
    return store_megabytes(stores.folders.values()) if sys.stderr.isatty() else None


def _describe(answer: DoctorAnswer) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in answer.environment.items())
    lines = [facts, *(f"found: {finding}" for finding in answer.findings)]
    lines += [f"note: {note}" for note in answer.notes]
    if answer.cleaned:
        lines.append(f"deleted, left by killed runs: {names(answer.cleaned)}")
    lines.append(f"looked at: {names([place.name for place in answer.places if place.looked])}")
    not_seen = [f"{place.name} ({place.why_not})" for place in answer.places if not place.looked]
    if not_seen:
        lines.append(f"not looked at: {names(not_seen)}")
    if answer.healthy:
        lines.append("nothing found where it looked" if not_seen else "nothing found")
    return "\n".join(lines)
