"""What `unlearn stage train@...` does where the engine `command` started it."""

import os
import sys
import threading
import time
from pathlib import Path

from unlearn.stages.engines.failures import error_as_json
from unlearn.stages.engines.job_files import Order, Outcome
from unlearn.stages.engines.remote import Result, node_name, run_job
from unlearn.stages.errors import BusyError, ToolError, UnlearnError
from unlearn.stages.project.paths import Project

#: How often a node looks whether its driver still waits, in seconds.
LOOK = 2.0

#: A driver that has given no sign of life for so long is taken for dead, in seconds.
SILENCE = 300.0

#: DVC sets it for the commands of its stages; a stage of DVC's is nobody's job.
DVC_VARIABLE = "DVC_STAGE"

#: The driver sets it to the name of the file by which it gives signs of life. A job that waits in
#: a queue inherits it, and may begin when nobody waits for it any more.
JOB_VARIABLE = "UNLEARN_JOB"


def find_order(project: Project, stage: str) -> Order | None:
    """Return the order that a command is to carry out; None if it runs a stage by itself.

    Parameters
    ----------
    project
        The project.
    stage
        The stage's name, such as `train@s000`.

    Raises
    ------
    ToolError
        If the driver that started this process has given the shard to another one, or has ended.
    """
    group, _, shard = stage.partition("@")
    if group != "train" or not shard or DVC_VARIABLE in os.environ:
        return None
    order = Order.read(project, shard)
    started = os.environ.get(JOB_VARIABLE)
    if started is not None and (order is None or order.alive.name != started):
        raise ToolError(f"nobody waits for this training of {shard} any more")
    return order


def carry_out(project: Project, order: Order) -> Result:
    """Run a job, and tell the driver what came of it.

    Raises
    ------
    UnlearnError
        What the job raised; the driver has it too.
    """
    os.chdir(project.root)  # where DVC runs a stage
    job, node = order.job.digest, node_name()
    _tell(project, order, Outcome(job, node))
    threading.Thread(target=_end_with_driver, args=(order.alive,), daemon=True).start()
    try:
        result = run_job(order.job, node=node)
    except BusyError as error:
        # A worker that the driver has given up still trains the shard.
        _tell(project, order, Outcome(job, node, lost=error.message))
        raise
    except UnlearnError as error:
        _tell(project, order, Outcome(job, node, error=error_as_json(error)))
        raise
    except Exception as error:
        # Only its kind: a library's message may quote a value that it did not like.
        kind = type(error).__name__
        told = ToolError(f"the training of {order.job.shard} failed on node {node}: {kind}")
        _tell(project, order, Outcome(job, node, error=error_as_json(told)))
        raise
    _tell(project, order, Outcome(job, node, result=result))
    return result


def _tell(project: Project, order: Order, outcome: Outcome) -> None:
    """Write an outcome for the driver, if it still waits: nobody else would remove it."""
    if order.alive.exists():
        outcome.write(project, order.job.shard)


def _end_with_driver(alive: Path) -> None:
    """End this process when its driver has ended, or has given the job to another worker."""
    seen, since = None, time.monotonic()
    while True:
        time.sleep(LOOK)
        try:
            now = alive.stat().st_mtime_ns
        except FileNotFoundError:
            _end("nobody waits for this training any more")
        except OSError:
            continue  # the folder may come back
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            _end(f"`unlearn repro` has given no sign of life for {SILENCE:.0f} s")


def _end(why: str) -> None:
    sys.stderr.write(f"{why}: this process ends\n")
    sys.stderr.flush()
    os._exit(3)
