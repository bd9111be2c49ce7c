"""`unlearn doctor`: whether this project, and this machine, are as they must be."""

import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer
from unlearn.cli.answers import Answer
from unlearn.cli.examples.authors import AUTHORS_PATH
from unlearn.cli.examples.digits import DIGITS_PATH
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural
from unlearn.stages.audit.copies import find_copies
from unlearn.stages.audit.identity import line_end_findings, look_alike_findings
from unlearn.stages.config.params import Params
from unlearn.stages.context import Context, load_params, open_project
from unlearn.stages.dvc.command import cache_folder
from unlearn.stages.dvc.lockfile import load_lock
from unlearn.stages.dvc.pipeline import read_pipeline, stage_names
from unlearn.stages.errors import InputError, UnlearnError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.project.files import TEMPORARY_PREFIX
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.rows.tokens import DEMO_KEY, Key
from unlearn.stages.text.base import find_base, require_libraries
from unlearn.stages.training.method_record import other_models
from unlearn.stages.training.unplanned import unplanned_files
from unlearn.stages.verify.membership.registry import deciding_attack

_PACKAGES = ("dvc-unlearn", "dvc", "torch", "scikit-learn", "numpy", "pyarrow")

#: Of the extra `llm`.
_LANGUAGE_PACKAGES = ("transformers", "peft", "tokenizers")

#: Estimators that keep training rows inside the model.
_ROW_STORING = (
    "sklearn.neighbors.",
    "sklearn.svm.SVC",
    "sklearn.svm.NuSVC",
    "sklearn.gaussian_process.",
    "sklearn.semi_supervised.",
)

#: What git may have below data/ and models/; a dataset that is public may be there by choice.
_TRACKED_IN_DATA = ("data/forget_list.txt", "data/requests.jsonl")


class DoctorAnswer(Answer):
    """What the checks found.

    Parameters
    ----------
    environment
        Versions, by package.
    findings
        A sentence for each problem.
    healthy
        Whether there is none.
    """

    environment: dict[str, str]
    findings: list[str]
    healthy: bool


def doctor(as_json: JsonFlag = False) -> None:
    """Check the project and this machine for problems.

    Looks at the environment, the key, dvc.lock, files of stopped runs, and copies of forgotten
    rows. Exits with 1 if there is a finding.
    """
    project = find_project()
    names = (*_PACKAGES, *(_LANGUAGE_PACKAGES if _is_language(project) else ()))
    facts = {name: _version(name) for name in names} | {"python": platform.python_version()}
    findings = list(_findings(project))
    answer = DoctorAnswer(environment=facts, findings=findings, healthy=not findings)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))
    if findings:
        raise typer.Exit(1)


COMMAND = Command(doctor, example="unlearn doctor", answer=DoctorAnswer)


def _is_language(project: Project) -> bool:
    try:
        return load_params(project.params).modality == "text"
    except InputError:
        return False  # a finding of its own


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _findings(project: Project) -> Iterator[str]:
    yield from _lock_findings(project)
    yield from _git_findings(project)
    yield from _leftovers(project)
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
        yield from line_end_findings(project)
        yield from look_alike_findings(context)
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
        ["git", "ls-files", "data", "models", "unlearn.key", ".unlearn"],
        cwd=project.root,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        yield "this is not a git repository: audits compare files that git tracks"
        return
    public = _public_files(project)
    tracked = [
        name
        for name in done.stdout.splitlines()
        if name not in (*_TRACKED_IN_DATA, *public)
        and not name.startswith("data/requests/")
        and not name.endswith(".dvc")
    ]
    if tracked:
        yield f"git tracks files that must not be in git: {', '.join(tracked[:5])}"
    for name in ("data/shards/x", "data/forget_set/x", "models/x", "unlearn.key", ".unlearn/x"):
        ignored = subprocess.run(
            ["git", "check-ignore", "--quiet", "--no-index", name], cwd=project.root, check=False
        )
        if ignored.returncode == 1:
            yield f".gitignore does not cover {name.removesuffix('/x')}"


def _public_files(project: Project) -> list[str]:
    """Return the dataset's path where it is an example's, and text that is about nobody in it."""
    try:
        params = load_params(project.params)
    except InputError:
        return []
    found = [] if params.generic is None else [params.generic]
    is_demo = params.key_check == Key(DEMO_KEY).check
    if is_demo or params.dataset.path in (DIGITS_PATH, AUTHORS_PATH):
        found.append(params.dataset.path)
    return found


def _leftovers(project: Project) -> Iterator[str]:
    found = [
        path
        for folder in (project.root / "data", project.root / "models", project.private)
        for path in folder.rglob(f"{TEMPORARY_PREFIX}*")
    ]
    scratch = project.private / "scratch"
    found += [path for path in scratch.rglob("*") if path.is_file()] if scratch.is_dir() else []
    if found:
        yield f"{plural(len(found), 'half-written file')} of a run that was killed, such as " + str(
            found[0].relative_to(project.root)
        )


def _params_findings(project: Project, params: Params) -> Iterator[str]:
    if params.train.model.startswith(_ROW_STORING):
        yield (
            f"{params.train.model} stores training rows inside the model: a person who has the "
            "model also has the rows that were not forgotten"
        )
    if params.modality == "text":
        yield from _base_findings(project, params)
    named = set(params.sharding.shards) if params.kind == "exact" else set()
    folder = project.shard_models
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if others := present - named - {".gitignore"}:
        yield f"models of shards that params.yaml does not name: {', '.join(sorted(others))}"


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
        for name in unplanned_files(context)
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
    try:
        cache = cache_folder(context.project)
    except UnlearnError:
        cache = None
        yield "dvc did not report its cache folder, so the cache was not scanned"
    copies = find_copies(context, forget_list, cache)
    if copies.in_dataset:
        yield f"{context.params.dataset.path} still holds rows of forgotten records"
    if copies.in_canaries:
        yield f"{context.params.dataset.canaries} still holds canaries that were forgotten"
    if copies.in_shards:
        yield f"{plural(copies.in_shards, 'file')} below data/ still hold rows of forgotten records"
    if copies.in_cache:
        yield (
            f"{plural(copies.in_cache, 'object')} in DVC's cache still hold rows of forgotten "
            "records, and so may its remotes"
        )
    if copies.unreadable:
        yield (
            f"{plural(copies.unreadable, 'object')} in DVC's cache may be an older dataset and "
            "cannot be read completely: it may contain forgotten records"
        )


def _describe(answer: DoctorAnswer) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in answer.environment.items())
    lines = [facts, *(f"found: {finding}" for finding in answer.findings)]
    if answer.healthy:
        lines.append("nothing found")
    return "\n".join(lines)
