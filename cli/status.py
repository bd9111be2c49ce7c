"""`unlearn status`: where each request stands."""

from typing import Any

from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural
from unlearn.stages.audit.status import list_is_applied, standing
from unlearn.stages.context import open_project
from unlearn.stages.dvc.command import dvc_status
from unlearn.stages.errors import BusyError, ToolError
from unlearn.stages.project.paths import find_project
from unlearn.stages.requests.request import read_requests


def status(as_json: JsonFlag = False) -> None:
    """Show how far the requests are, and what is left to do.

    A line of the forget list is pending until the models are trained without its rows.
    """
    context = open_project(find_project())
    project = context.project
    forget_list = context.read_list()
    requests = read_requests(project.requests)
    found = standing(project, context.params, forget_list)
    try:
        changed = sorted(dvc_status(project.root))
    except (BusyError, ToolError):
        changed = ["unknown: dvc did not answer"]
    # DVC hashes the list after `forget` ran, so its word alone is not enough.
    up_to_date = not changed and found.pending == 0 and list_is_applied(project)
    result = {
        "pending": found.pending,
        "applied": found.applied,
        "verified": found.verified,
        "up_to_date": up_to_date,
        "by_hand": forget_list.by_hand,
        "requests": requests,
        "changed": changed,
    }
    emit(result, as_json=as_json, text=lambda: _describe(result))


COMMAND = Command(status, example="unlearn status")


def _describe(found: dict[str, Any]) -> str:
    lines = [
        f"forget list: {plural(found['pending'], 'line')} pending, {found['applied']:,} applied"
        + (", verified" if found["verified"] and found["applied"] else "")
    ]
    if found["by_hand"]:
        lines.append(f"{plural(found['by_hand'], 'line')} written by hand; `forget` rewrites them")
    for entry in found["requests"][-10:]:
        ticket = f"  {entry['ticket']}" if entry["ticket"] else ""
        lines.append(f"  {entry['time']}  {plural(entry['count'], 'line')}{ticket}")
    if found["up_to_date"]:
        lines.append("models: up to date")
    elif found["changed"]:
        lines.append(f"to do: {', '.join(found['changed'])}; `unlearn repro` does it")
    else:
        lines.append("to do: apply the forget list; `unlearn repro` does it")
    return "\n".join(lines)
