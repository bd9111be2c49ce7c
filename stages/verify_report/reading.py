"""The one reader of reports, whichever version of the format they are in."""

import json
from collections.abc import Mapping

from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.verify_report.report import SCHEMA_VERSION, Report

NAME = "reports/verify.json"

#: What a file must have to be a report; everything else may be missing.
_NECESSARY = frozenset({"verdict", "exactness", "utility", "membership", "forget_list"})


def read_report(project: Project) -> Report:
    """Return the project's report.

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
    try:
        value = json.loads(content)
    except ValueError:
        raise InputError(f"{name} is not a report of this tool") from None
    if not isinstance(value, Mapping) or not value.keys() >= _NECESSARY:
        raise InputError(f"{name} is not a report of this tool")
    version = value.get("schema_version")
    version = 1 if version is None else version
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{name} is not a report of this tool")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{name} has schema_version {version}, and this version of unlearn reads up to "
            f"{SCHEMA_VERSION}",
            "a newer version of unlearn wrote it, and reads it",
        )
    return Report.read({**value, "schema_version": version})
