"""The one reader of report files, whichever version of the format they are in."""

import json
from collections.abc import Mapping
from typing import Any

from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.verify_report.public import PublicReport, public_part
from unlearn.stages.verify_report.report import SCHEMA_VERSION, Report

#: The report with its figures, and the verdicts without them.
NAME = "reports/verify.json"
VERDICT = "reports/verdict.json"

#: What a file must have to be a report; everything else may be missing.
_NECESSARY = frozenset({"verdict", "exactness", "utility", "membership", "forget_list"})
_NECESSARY_OF_VERDICT = frozenset({"verdict", "exactness", "forget_list", "models"})


def read_public(project: Project) -> PublicReport:
    """Return the project's verdicts; of a project of an older version, from its whole report.

    Raises
    ------
    InputError
        If there are none, or the file is not one that this version can read.
    """
    try:
        return parse_public(project.verdict.read_bytes())
    except FileNotFoundError:
        pass
    try:
        content = project.report.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no {VERDICT} yet", "`unlearn repro` makes it") from None
    return public_part(parse_report(content))


def parse_public(content: bytes, name: str = VERDICT) -> PublicReport:
    """Return the verdicts that a file holds; see `parse_report`."""
    value = _json_object(content, name)
    if not value.keys() >= _NECESSARY_OF_VERDICT:
        raise InputError(f"{name} is not a report of this tool")
    _check_version(value, name, PublicReport.model_fields["schema_version"].default)
    return PublicReport.read(value)


def read_report(project: Project) -> Report:
    """Return the project's report with its figures.

    Raises
    ------
    InputError
        If there is none, or it is not a report that this version can read.
    """
    try:
        content = project.report.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no {NAME} yet", "`unlearn repro` makes it") from None
    return parse_report(content)


def parse_report(content: bytes, name: str = NAME) -> Report:
    """Return the report that a file holds.

    Defaults stand for parts that are missing, as in older reports, and for single values that
    are damaged.

    Parameters
    ----------
    content
        Of the file.
    name
        What errors call it.

    Raises
    ------
    InputError
        If it is no report, or one of a newer format.
    """
    value = _json_object(content, name)
    if not value.keys() >= _NECESSARY:
        raise InputError(f"{name} is not a report of this tool")
    version = _check_version(value, name, SCHEMA_VERSION)
    return Report.read({**value, "schema_version": version})


def raw_content(content: bytes) -> Mapping[str, Any]:
    """Return all that a file says, as JSON values, to check its seal; empty if it is no report."""
    try:
        return _json_object(content, "")
    except InputError:
        return {}


def _json_object(content: bytes, name: str) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is not a report of this tool")
    return value


def _check_version(value: Mapping[str, Any], name: str, newest: int) -> int:
    """Return the version of a file's format, 1 where it says none."""
    version = value.get("schema_version")
    version = 1 if version is None else version
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{name} is not a report of this tool")
    if version > newest:
        raise InputError(
            f"{name} has schema_version {version}, and this version of unlearn reads up to "
            f"{newest}",
            "a newer version of unlearn wrote it, and reads it",
        )
    return version
