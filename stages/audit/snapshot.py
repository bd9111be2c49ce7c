"""A project's state as git tracks it: at a revision, or in the working tree."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from pydantic import ValidationError
from unlearn.stages.audit.compare import Listed, Snapshot
from unlearn.stages.audit.git_files import check_revision, read_tracked
from unlearn.stages.audit.reports import md5_bytes, verdict_out
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.config.params import ShardingParams, parse_yaml
from unlearn.stages.config.settings_files import FILES, merged
from unlearn.stages.context import load_params
from unlearn.stages.dvc.lockfile import LockStages, md5_of, read_lock
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger, lines_lost_at
from unlearn.stages.ledger.history import read_log_at
from unlearn.stages.ledger.log import Log, read_log
from unlearn.stages.project.git import LOG, git
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.epochs import Epochs, epoch_in
from unlearn.stages.rows.forget_list import (
    ForgetList,
    parse_forget_list,
    parse_without_key,
    refuse_conflict,
)
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.tokens import Tokenizer, load_key
from unlearn.stages.verify_report.public import public_part
from unlearn.stages.verify_report.reading import VERDICT, parse_public, parse_report

WORKING_TREE = "working tree"
FORGET_LIST = "data/forget_list.txt"


def take_snapshot(project: Project, revision: str | None, epochs: Epochs | None = None) -> Snapshot:
    """Read a state of the project.

    Needs the key only to understand lines that a person wrote by hand; without it, these are
    counted and left out.

    Parameters
    ----------
    project
        The project.
    revision
        A git revision; None for the working tree.
    epochs
        The epoch of the project key to read lines in; by default that of the state itself. Two
        states are compared in one epoch.

    Raises
    ------
    InputError
        If there is no such revision, or a tracked file is not readable.
    """
    if revision is not None:
        check_revision(project.root, revision)
    lock = read_tracked(project, revision, "dvc.lock")
    content = read_tracked(project, revision, FORGET_LIST) or b""
    name = revision or WORKING_TREE
    stages = {} if lock is None else _lock(lock, name)
    settings = _settings(project, revision)
    out = verdict_out(stages)
    report = read_tracked(project, revision, out)
    key_check = settings.get("key_check")
    log = read_log(project) if revision is None else read_log_at(project.root, revision)
    epochs = _own_epochs(project, key_check, log) if epochs is None else epochs
    forget_list, by_hand = _forget_list(project, content, epochs)
    applied = list_carried_out(project, revision, stages, content)
    carried_out, _ = _forget_list(project, content if applied is None else applied, epochs)
    return Snapshot(
        name=name,
        lock=stages,
        listed=_listed(forget_list),
        carried_out=_listed(carried_out),
        list_md5=md5_bytes(content),
        by_hand=by_hand,
        sharding=_sharding(settings),
        environment=_environment(report, out),
        report_name=out,
        report_md5=None if report is None else md5_bytes(report),
        methods=_methods(settings),
        restored=replace(log, epochs=epochs).restored(),
        lost=_lost(project, revision),
        key_check=key_check if isinstance(key_check, str) else None,
        epochs=epochs,
    )


def list_carried_out(
    project: Project, revision: str | None, lock: LockStages, content: bytes
) -> bytes | None:
    """Return the list that a lock says was applied: the newest one, or an older one in git.

    Parameters
    ----------
    project, revision
        The project, and where its history ends; None for the working tree.
    lock
        The stages of dvc.lock.
    content
        The newest list.

    Returns
    -------
    bytes or None
        None if the lock names no list, or one that git does not have.
    """
    wanted = md5_of(lock.get("forget", {}).get("deps", []), FORGET_LIST)
    if wanted is None:
        return None
    if wanted == md5_bytes(content):
        return content
    log = git(project.root, *LOG, "--format=%H", revision or "HEAD", "--", FORGET_LIST)
    for commit in (log or b"").decode().split():
        older = read_tracked(project, commit, FORGET_LIST) or b""
        if md5_bytes(older) == wanted:
            return older
    return None


def _listed(forget_list: ForgetList) -> Listed:
    tokens = frozenset(forget_list.tokens) - forget_list.unplaced
    return Listed(tokens, forget_list.unplaced)


def _lock(content: bytes, name: str) -> dict[str, dict[str, Any]]:
    try:
        return read_lock(content.decode())
    except (InputError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, InputError) else "not UTF-8 text"
        raise InputError(f"{name}: {reason}", "`unlearn repro` repairs the working tree") from None


def _own_epochs(project: Project, key_check: object, log: Log) -> Epochs:
    """Return the epoch of a state's key, with the key if it is here."""
    epochs = log.epochs.at(max(log.epochs.number, epoch_in(key_check)))
    try:
        return epochs.with_key(load_key(project, str(key_check)))
    except InputError:
        return epochs


def _forget_list(project: Project, content: bytes, epochs: Epochs) -> tuple[ForgetList, int]:
    """Read the list, and count lines written by hand; without the key these are left out.

    Raises
    ------
    InputError
        If the list holds conflict markers of git.
    """
    refuse_conflict(content)
    try:
        params = load_params(project.params)
        key = load_key(project, params.key_check) if epochs.key is None else epochs.key
        if key.epoch != epochs.number:
            return parse_without_key(content, epochs)
        tokenizer = Tokenizer(key, IdRules.of(params.dataset))
        found = parse_forget_list(content, tokenizer, subjects=params.dataset.subject is not None)
    except InputError:
        return parse_without_key(content, epochs)
    return found, found.by_hand


def _lost(project: Project, revision: str | None) -> frozenset[str]:
    """Return the lines that left the list, and that the log did not take back."""
    if revision is not None:
        return frozenset(lines_lost_at(project.root, revision))
    branch = load_params(project.params).ledger.branch
    return frozenset(check_ledger(project, branch, None).lost)


def _settings(project: Project, revision: str | None) -> dict[str, Any]:
    """Return all settings, also of a version that had them in params.yaml alone.

    What cannot be read is left out.
    """
    found = {}
    for name in ("params.yaml", *FILES):
        content = read_tracked(project, revision, name)
        try:
            parsed = parse_yaml(content or b"")
        except yaml.YAMLError:
            continue
        if isinstance(parsed, dict):
            found[name] = parsed
    return merged(found.pop("params.yaml", {}), found)


def _sharding(settings: Mapping[str, Any]) -> ShardingParams | None:
    try:
        return ShardingParams.model_validate(settings["sharding"])
    except (ValidationError, KeyError):
        return None


def _methods(settings: Mapping[str, Any]) -> tuple[str, ...] | None:
    try:
        unlearn = settings["unlearn"]
        young = (YOUNG,) if unlearn.get("young") is True else ()
        return (*young, *(str(name) for name in unlearn["methods"]))
    except (KeyError, TypeError, AttributeError):
        return None


def _environment(report: bytes | None, name: str) -> dict[str, str]:
    try:
        if report is None:
            return {}
        public = parse_public(report) if name == VERDICT else public_part(parse_report(report))
    except InputError:
        return {}
    return public.environment
