"""What a node of a Ray cluster does with a job, and what it tells the driver."""

import os
from typing import Any

from unlearn.stages.engines.failures import error_as_json
from unlearn.stages.engines.remote import Job, OtherEnvironmentError, OtherFilesError, run_job
from unlearn.stages.errors import BusyError, UnlearnError

Outcome = dict[str, Any]


def run(values: dict[str, Any], node: str) -> Outcome:
    """Run a job; return what came of it, as JSON values.

    It raises nothing. Ray writes what a task raises to its logs and keeps it for its dashboard,
    and an exception of a library may quote the value that it did not like.

    Parameters
    ----------
    values
        See `Job.as_json`.
    node
        The node's name.
    """
    try:
        os.chdir(values["root"])  # where DVC runs a stage
        result = run_job(Job.of_json(values), node=node)
    except (OtherEnvironmentError, OtherFilesError) as error:
        return {"event": "refused", "error": error_as_json(error)}
    except BusyError as error:
        # A worker that Ray has given up still trains the shard.
        return {"event": "lost", "why": error.message}
    except UnlearnError as error:
        return {"event": "error", "error": error_as_json(error)}
    except Exception as error:  # noqa: BLE001  # whatever it is, Ray must not write it down
        return {"event": "broken", "kind": type(error).__name__}
    return {"event": "result", "result": result.as_json()}
