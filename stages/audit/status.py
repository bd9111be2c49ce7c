"""Where requests stand: what is pending, what the models already honour, what was verified."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from unlearn.stages.audit.reports import key_at_hand, read_found, seal_reasons, verdict_out
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.config.params import Params
from unlearn.stages.context import load_params
from unlearn.stages.dvc.lockfile import LockStages, folder_md5, load_lock, lock_gaps, md5_of
from unlearn.stages.dvc.outputs import recorded_md5
from unlearn.stages.dvc.pipeline import model_folders
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.suppressed import dropped_rows
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.applied import Applied, read_applied
from unlearn.stages.rows.forget_list import ForgetList, place_of_line, refuse_conflict
from unlearn.stages.rows.shard_file import read_nonce
from unlearn.stages.training.lineage import read_lineage
from unlearn.stages.training.method_record import WHOLE, read_record
from unlearn.stages.training.recipe import settings_digest
from unlearn.stages.verify_report.public import PublicReport
from unlearn.stages.verify_report.reading import NAME, read_public


def stale_reasons(project: Project) -> list[str]:
    """Return why the report does not belong to the project as it stands, if so.

    Works in a clone without data, models and key: it compares what git tracks. A report without
    its seal counts as not belonging to the project; without the key, it is not checked.
    """
    try:
        lock = load_lock(project)
        params = load_params(project.params)
    except InputError as error:
        return [f"stale: {error.message}"]
    verified = lock.get("verify")
    if verified is None:
        return ["stale: dvc.lock has no entry for verify"]
    found = read_found(project)
    report = found.public
    reasons = [f"stale: {gap}" for gap in lock_gaps(lock, list(model_folders(params)))]
    reasons += [f"stale: {problem}" for problem in _lost_requests(project, params)]
    if others := _models_not_reported(params, lock, report):
        reasons.append(f"stale: the report is not on {', '.join(others)} as in dvc.lock")
    reasons += _reports_not_in_lock(project, lock)
    if report.forget_list != _digest_or_none(project.forget_list):
        reasons.append("stale: the forget list has changed since the report was made")
    if report.settings != settings_digest(params):
        reasons.append("stale: the settings have changed since the report was made")
    reasons += seal_reasons(found, key_at_hand(project))
    if _data_is_another(project, params.dataset.path, lock):
        reasons.append("stale: the dataset has changed since the report was made")
    held_out = params.dataset.held_out
    if held_out is not None and _data_is_another(project, held_out, lock):
        reasons.append("stale: the held-out rows have changed since the report was made")
    if _canaries_are_others(project, params, lock):
        reasons.append("stale: the planted canaries have changed since the report was made")
    return reasons


def _lost_requests(project: Project, params: Params) -> list[str]:
    """Return why the forget list is not whole, by git's history and the log.

    Raises
    ------
    InputError
        If the list holds conflict markers of git.
    """
    if project.forget_list.is_file():
        refuse_conflict(project.forget_list.read_bytes())
    try:
        problem = check_ledger(project, params.ledger.branch, None).problem()
    except InputError as error:  # a damaged log
        problem = error
    return [] if problem is None else [problem.message]


def _reports_not_in_lock(project: Project, lock: LockStages) -> list[str]:
    """Return a reason for each report that is not what `verify` wrote; figures may be elsewhere."""
    outs = lock["verify"]["outs"]
    named = verdict_out(lock)
    found = {
        name: digest_file(project.root / name, "md5") if (project.root / name).is_file() else None
        for name in dict.fromkeys((named, NAME))
    }
    if found[NAME] is None and named != NAME:
        del found[NAME]
    return [
        f"stale: {name} is not the one in dvc.lock"
        for name, digest in found.items()
        if md5_of(outs, name) != digest
    ]


def _models_not_reported(params: Params, lock: LockStages, report: PublicReport) -> list[str]:
    """Return the shards, or methods, whose model in the lock is not the one that was reported on.

    The lock ties `verify` to the folder above them as a whole, which hides its parts.
    """
    return [
        name
        for name, (made_by, folder) in model_folders(params).items()
        if (stage := lock.get(made_by)) is None
        or md5_of(stage["outs"], folder) != report.models.get(name)
    ]


def _digest_or_none(path: Path) -> str | None:
    return digest_file(path) if path.is_file() else None


def _data_is_another(project: Project, path: str, lock: LockStages) -> bool:
    """Tell whether git has other rows at a path than those that were put into shards."""
    pointer = project.root / f"{path}.dvc"
    used = md5_of(lock["shard"].get("deps", []), path) if "shard" in lock else None
    try:
        tracked = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        tracked = recorded_md5(project, path)
        if tracked is None:
            return False  # a dataset that git itself has, as in the example
    return bool(tracked != used)


def _canaries_are_others(project: Project, params: Params, lock: LockStages) -> bool:
    """Tell whether canaries were planted, or taken away, since the rows were put into shards."""
    try:
        used = lock["shard"]["params"]["params.yaml"]["dataset"].get("canaries")
    except (LookupError, TypeError, AttributeError):
        return False
    named = params.dataset.canaries
    return used != named or (named is not None and _data_is_another(project, named, lock))


@dataclass(frozen=True)
class Standing:
    """How far the lines of the forget list have got.

    Parameters
    ----------
    pending
        Lines that some model may still hold the rows of.
    applied
        Lines whose rows are out of the retain set, the shard model and the final model.
    verified
        Whether the last report passes and belongs to this state.
    without_rows
        How many applied lines no row has; None where the `forget` stage left no note here.
    applied_lines
        The lines that `applied` counts, and those of canaries that no shard was given.
    dropped
        Rows of erased or suppressed people that the dataset has again; None where data/shards is
        not here.
    """

    pending: int
    applied: int
    verified: bool
    without_rows: int | None = None
    applied_lines: frozenset[str] = field(default=frozenset(), repr=False)
    dropped: int | None = None


def standing(project: Project, params: Params, forget_list: ForgetList) -> Standing:
    """Find out how far each line of the list has got, from the files themselves.

    Parameters
    ----------
    project, params
        The project.
    forget_list
        The list as it stands.
    """
    lines = forget_list.tokens
    verified = _is_verified(project)
    if not project.applied.is_file() and verified:
        # A clone without data: the report vouches for the list that it names.
        return Standing(
            0,
            len(lines),
            verified=True,
            applied_lines=forget_list.known,
            dropped=dropped_rows(project),
        )
    applied = read_applied(project)
    honoured = applied_tokens(project)
    if params.kind == "posthoc":
        fresh = {WHOLE} if _deployed_is_fresh(project, params.posthoc.deploy, applied) else set()
    else:
        fresh = {name for name in params.sharding.shards if _model_is_fresh(project, name, applied)}
    if _retain_stands(project, HOLDOUT, applied):
        fresh.add(HOLDOUT)
    everywhere = fresh >= {*params.sharding.shards, HOLDOUT}
    done = frozenset(
        line
        for line in honoured.intersection(lines)
        if (
            everywhere
            if line in forget_list.unplaced  # a raw id does not say where its row is
            else place_of_line(line, params.sharding).shard in fresh
        )
    )
    count = len(done)
    without_rows = None if applied is None else min(applied.without_rows, count)
    return Standing(
        pending=len(lines) - count,
        applied=count,
        verified=verified and count == len(lines),
        without_rows=without_rows,
        applied_lines=done | forget_list.left_out,
        dropped=dropped_rows(project),
    )


def _is_verified(project: Project) -> bool:
    """Tell whether there is a report that passes, and belongs to the project as it is."""
    try:
        return read_public(project).verdict == "pass" and not stale_reasons(project)
    except InputError:
        return False


def _retain_stands(project: Project, name: str, applied: Applied | None) -> bool:
    """Tell whether a retain file is the one that `forget` left, to the byte."""
    if applied is None or name not in applied.shards:
        return False
    return applied.shards[name].retain == _digest_or_none(project.retain_file(name))


def list_is_applied(project: Project) -> bool:
    """Tell whether `forget` applied the list as it stands now, to the byte."""
    applied = read_applied(project)
    noted = None if applied is None else applied.digest
    return noted == _digest_or_none(project.forget_list)


def applied_tokens(project: Project) -> frozenset[str]:
    """Return the lines of the list that `forget` applied last; none if it never ran."""
    applied = read_applied(project)
    return frozenset() if applied is None else frozenset(applied.tokens)


def _model_is_fresh(project: Project, shard: str, applied: Applied | None) -> bool:
    """Tell whether a shard's model, and its member in the final model, are of its retain file."""
    if not _retain_stands(project, shard, applied):
        return False
    try:
        lineage = read_lineage(project.shard_models / shard)
        retained = read_nonce(project.retain_file(shard), f"data/retain_set/{shard}.parquet")
        ensemble = json.loads((project.final_model / "ensemble.json").read_text(encoding="utf-8"))
        members = {entry["shard"]: entry["digest"] for entry in ensemble["members"]}
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return False
    if lineage is None or lineage.retain != retained:
        return False
    return members.get(shard) == (lineage.model if lineage.rows else None)


def _deployed_is_fresh(project: Project, method: str, applied: Applied | None) -> bool:
    """Tell whether the final model is what the deployed method made of the sets as they stand.

    By dvc.lock: the method ran on the retain set and the forget set that are there now.
    """
    if not _retain_stands(project, WHOLE, applied):
        return False
    try:
        lock = load_lock(project)
        made = lock[YOUNG if method == YOUNG else f"unlearn@{method}"]
        final = lock["aggregate"]
        read_record(project.unlearned / method, method)
    except (InputError, KeyError):
        return False
    folder, deps = f"models/unlearned/{method}", made.get("deps", [])
    if method == YOUNG:
        retained = project.retain_file(WHOLE)
        path = retained.relative_to(project.root).as_posix()
        is_of_these_rows = md5_of(deps, path) == digest_file(retained, "md5")
    else:
        is_of_these_rows = md5_of(deps, "data/retain_set") == folder_md5(
            project.retain_set
        ) and md5_of(deps, "data/forget_set") == folder_md5(project.forget_set)
    return (
        is_of_these_rows
        and md5_of(made["outs"], folder) == folder_md5(project.unlearned / method)
        and md5_of(final.get("deps", []), folder) == md5_of(made["outs"], folder)
    )
