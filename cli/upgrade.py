"""`unlearn upgrade`: brings a project of an older version to this one."""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from unlearn.cli.answers import Answer
from unlearn.cli.init.dataset.roles import find_roles
from unlearn.cli.init.files.settings import parse, render_ledger, render_schema, render_shards
from unlearn.cli.init.repository.ignore_files import pattern_files
from unlearn.cli.init.repository.shared_files import default_branch_name
from unlearn.cli.init.request.choices import Identity
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names
from unlearn.cli.text_edits import (
    replace_file,
    restored_on_error,
    text_of,
    with_entries,
    with_setting,
    without_settings,
)
from unlearn.cli.upgrade_pipeline import has_own_young, is_current, upgraded_pipeline
from unlearn.stages.config.dataset import DatasetParams, IdType
from unlearn.stages.config.methods import UnlearnParams
from unlearn.stages.config.params import ALGORITHM, Params, read_yaml
from unlearn.stages.config.settings_files import FILES, SHARDS_FILE, split
from unlearn.stages.context import Context, check_params, open_project
from unlearn.stages.dvc.pipeline import model_folders, own_base, stage_names
from unlearn.stages.erasure.dataset.oracles import find_testable
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.ledger.hand_written import check_hand_written
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.git import git
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.requests.request import hold_list, replace_hand_written, write_change
from unlearn.stages.rows.ids import IdKind
from unlearn.stages.rows.pins import find_types

#: All that git has of a report; projects of algorithm 1 have figures there as well.
_VERDICT = "reports/verdict.json"
#: What an erasure keeps in git of the report before it: the verdict, and a pointer to the figures.
_EVIDENCE = re.compile(r"reports/evidence/[0-9a-f]+/(verdict\.json|verify\.json\.dvc)")


class UpgradeAnswer(Answer):
    """What was changed.

    Parameters
    ----------
    changed
        A sentence for each change.
    retrains
        Stages that make models and that the next run executes because of it.
    notes
        What the command could not do, or what the user should know.
    dry_run
        Whether nothing was changed.
    """

    changed: list[str]
    retrains: list[str]
    notes: list[str]
    dry_run: bool


def upgrade(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the result and change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring a project of an older version to this one.

    Settings, pipeline and log are changed, and the forget list is kept. `unlearn repro` then
    retrains what the new version trains in another way.
    """
    project = find_project()
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(exclusive(project.lock_file("repro"), "an `unlearn repro`"))
        found = plan_upgrade(project)
        if not dry_run:
            _write(project, found)
    answer = UpgradeAnswer(
        changed=found.changed, retrains=found.retrains, notes=found.notes, dry_run=dry_run
    )
    emit(answer, as_json=as_json, text=lambda: _describe(answer))


COMMAND = Command(upgrade, example="unlearn upgrade --dry-run", answer=UpgradeAnswer)


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade writes.

    Parameters
    ----------
    files
        New content, by path; only files that change.
    untracked
        Files that git stops tracking.
    logs_list
        Whether the log gets an entry with the lines of the list.
    changed, retrains, notes
        See `UpgradeAnswer`.
    """

    files: dict[Path, bytes]
    untracked: list[str]
    logs_list: bool
    changed: list[str]
    retrains: list[str]
    notes: list[str]


def plan_upgrade(project: Project) -> Upgrade:
    """Return what has to change in a project; nothing is written.

    Raises
    ------
    InputError
        If params.yaml is of a newer version, or a file cannot be edited.
    """
    before = read_yaml(project.params)
    older = before.get("algorithm")
    if isinstance(older, int) and older > ALGORITHM:
        raise InputError(
            f"params.yaml asks for algorithm {older}; this tool implements {ALGORITHM}",
            "install the newer version of dvc-unlearn that the project was made with",
        )
    changed: list[str] = []
    notes: list[str] = []
    settings = _new_settings(project, before, changed, notes)
    params = check_params(parse(settings))
    files = {project.root / name: content for name, content in settings.items()}
    pipeline = text_of(project.pipeline)
    if not is_current(pipeline, params):
        made_with = params.train.code_path or own_base(project, params)
        new = upgraded_pipeline(pipeline, params, made_with)
        files[project.pipeline] = new.encode()
        changed.append("dvc.yaml: the stages of this version")
    if not project.suppressed.is_file():
        files[project.suppressed] = b""
        changed.append("data/suppressed.txt: a new file")
    for name, render in _ignore_files(project, params):
        path = project.root / name
        text = path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
        files[path] = render(text)
        if files[path] != text.encode("utf-8", "surrogateescape"):
            changed.append(f"{name}: new lines")
    untracked = _tracked_figures(project, params)
    if untracked:
        changed.append(f"git: {names(untracked)} no longer tracked; git's history keeps them")
    logs_list = not read_log(project).by_name and bool(project.forget_list.read_bytes().strip())
    if logs_list:
        changed.append("data/requests: an entry with the lines that the forget list has now")
    notes += find_testable(project, params.dataset).notes
    makers = {stage for stage, _ in model_folders(params).values()}
    retrains: list[str] = []
    if older != ALGORITHM:
        retrains = [name for name in stage_names(params) if name == "train" or name in makers]
    elif params.methods != _methods(before):
        # All methods read the model of the new stage.
        retrains = [name for name in stage_names(params) if name in makers]
    return Upgrade(
        files={
            path: content
            for path, content in files.items()
            if not path.is_file() or path.read_bytes() != content
        },
        untracked=untracked,
        logs_list=logs_list,
        changed=changed,
        retrains=retrains,
        notes=notes,
    )


def _methods(settings: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the post-hoc methods, `young` included, that settings have."""
    unlearn = settings.get("unlearn")
    if not isinstance(unlearn, dict):
        return ()
    return UnlearnParams.model_validate(unlearn).compared


def _new_settings(
    project: Project, before: dict[str, Any], changed: list[str], notes: list[str]
) -> dict[str, bytes]:
    """Return the files of settings, by name, as this version writes them."""
    settings = {
        name: (project.root / name).read_bytes()
        for name in FILES
        if (project.root / name).is_file()
    }
    text = _new_params(project, before, changed, notes)
    moved = split(yaml.safe_load(text))
    for name, content in moved.items():
        if name not in FILES:
            continue
        section, keys = FILES[name]
        text = without_settings(text, section, keys)
        if name == SHARDS_FILE:
            settings[name] = render_shards(content["shards"])
        else:
            settings[name] = render_schema(content)
        changed.append(f"{name}: {section}.{f' and {section}.'.join(content)} of params.yaml")
    if "unlearn" in before:
        text = without_settings(text, "sharding", ("shards",))
    return {"params.yaml": text.encode()} | settings


def _new_params(
    project: Project, before: dict[str, Any], changed: list[str], notes: list[str]
) -> str:
    """Return params.yaml's text with the settings that this version writes."""
    text = text_of(project.params)
    if before.get("algorithm") != ALGORITHM:
        text = with_entries(text, (), {"algorithm": ALGORITHM})
        changed.append(f"params.yaml: algorithm {before.get('algorithm')} is now {ALGORITHM}")
    dataset = before.get("dataset")
    if isinstance(dataset, dict) and "id_type" not in dataset:
        text = _with_id_types(project, text, dataset, changed, notes)
    verify = before.get("verify")
    if isinstance(verify, dict) and "publish" not in verify:
        text = with_entries(text, ("verify",), {"publish": "verdict"})
        changed.append("params.yaml: verify.publish is verdict")
    unlearn = before.get("unlearn")
    if isinstance(unlearn, dict) and "young" not in unlearn:
        if has_own_young(text_of(project.pipeline)):
            notes.append("unlearn.young stays false: dvc.yaml has a stage young of your own")
        else:
            text = with_entries(text, ("unlearn",), {"young": True})
            changed.append(
                "params.yaml: unlearn.young is true; methods now stop at the loss of that model on "
                "the forgotten rows (`target: class` in unlearn.guard is what they did before)"
            )
    if "ledger" not in before:
        branch = default_branch_name(project.root)
        gap = "" if text.endswith("\n") else "\n"
        text += gap + render_ledger(branch).decode()
        changed.append(f"params.yaml: the default branch is {branch}")
    return text


def _with_id_types(
    project: Project, text: str, dataset: dict[str, Any], changed: list[str], notes: list[str]
) -> str:
    """Return params.yaml's text with the types of ids, where that loses no line of the list."""
    unset = "dataset.id_type stays unset"
    if not (project.root / str(dataset.get("path"))).exists():
        notes.append(f"{unset}: the dataset is not here; `dvc pull`")
        return text
    try:
        found = _id_types(project, dataset)
    except InputError as error:
        notes.append(f"{unset}: {error.message}")
        return text
    if found is None:
        notes.append(
            f"{unset}: with it, rows would get other tokens, and lines of the forget list would no "
            "longer match; ids are read as before"
        )
        return text
    for kind, column in (("record", "id"), ("subject", "subject")):
        if kind in found:
            name = f"{column}_type"
            text = with_setting(text, "dataset", name, found[kind], after=column)
            changed.append(f"params.yaml: dataset.{name} is {found[kind]}")
    return text


def _id_types(project: Project, dataset: dict[str, Any]) -> dict[IdKind, IdType] | None:
    """Return what the ids of the columns are; None if the forget list rules it out."""
    if project.forget_list.read_bytes().strip():
        try:
            return find_types(project.root, DatasetParams.model_validate(dataset))
        except ValidationError:
            return None  # an error of its own, with the other settings
    held_out, subject = dataset.get("held_out"), dataset.get("subject")
    request = InitRequest(
        root=project.root,
        dataset=project.root / str(dataset.get("path")),
        held_out=None if held_out is None else project.root / held_out,
        subject=subject,
        identity=Identity.EXACT,
    )
    roles, _ = find_roles(request, str(dataset.get("id")))
    found: dict[IdKind, IdType] = {"record": roles.id_type}
    return found if roles.subject_type is None else found | {"subject": roles.subject_type}


def _ignore_files(project: Project, params: Params) -> list[tuple[str, Any]]:
    hashed = [*params.train.read_paths, *filter(None, [params.generic])]
    if params.kind == "posthoc":
        hashed += params.posthoc.code_paths
    if git(project.root, "ls-files", "--error-unmatch", "--", params.dataset.path) is not None:
        hashed.append(params.dataset.path)
    return pattern_files(project.root, [], list(dict.fromkeys(hashed)))


def _tracked_figures(project: Project, params: Params) -> list[str]:
    """Return the files with figures that git tracks."""
    if params.verify.publish == "figures":
        return []
    out = git(project.root, "ls-files", "-z", "--", "reports") or b""
    found = out.decode("utf-8", "surrogateescape").split("\0")
    return [name for name in found if name and name != _VERDICT and not _EVIDENCE.fullmatch(name)]


def _write(project: Project, found: Upgrade) -> None:
    """Write an upgrade: all files, or none."""
    with restored_on_error([*found.files]):
        for path, content in found.files.items():
            replace_file(path, content)
        context = open_project(project)
        check_hand_written(context, context.read_list())
        if found.untracked:
            command = ("rm", "--quiet", "--cached", "--", *found.untracked)
            if git(project.root, *command) is None:
                raise ToolError("`git rm --cached` failed; nothing was changed")
    if found.logs_list:
        _log_list(context)


def _log_list(context: Context) -> None:
    """Log the lines of the list, which the entries of an older log do not name."""
    with ExitStack() as stack:
        hold_list(context.project, stack)
        replace_hand_written(context, context.read_list())
        write_change(context.project, "upgrade", added=context.read_list().lines)


def _describe(answer: UpgradeAnswer) -> str:
    if not answer.changed:
        return "\n".join(["the project is up to date", *(f"note: {note}" for note in answer.notes)])
    lines = ["would change:" if answer.dry_run else "changed:"]
    lines += [f"  {sentence}" for sentence in answer.changed]
    if answer.retrains:
        lines.append(f"to retrain: {names(answer.retrains)}")
    lines += [f"note: {note}" for note in answer.notes]
    if not answer.dry_run:
        lines.append("next: unlearn repro, then commit the result")
    return "\n".join(lines)
