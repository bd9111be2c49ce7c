"""Files in the shared folder by which a driver and the nodes know of each other.

    .unlearn/jobs/s000.json          the job, written by the driver before it starts the command
    .unlearn/jobs/s000-1f3a.alive    changed by the driver every few seconds, as long as it waits
    .unlearn/jobs/s000.result.json   what came of it, written by the node
    .unlearn/jobs/s000.log           what the command printed

Git and DVC track none of them. They have names, digests and facts: no rows and no key.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from unlearn.stages.engines.remote import Job, Result
from unlearn.stages.project.files import write_json
from unlearn.stages.project.paths import Project


def jobs_folder(project: Project) -> Path:
    """Return the folder of all jobs."""
    return project.private / "jobs"


def job_file(project: Project, shard: str) -> Path:
    """Return the file of a shard's job."""
    return jobs_folder(project) / f"{shard}.json"


def result_file(project: Project, shard: str) -> Path:
    """Return the file of what a node says about a shard."""
    return jobs_folder(project) / f"{shard}.result.json"


def log_file(project: Project, shard: str) -> Path:
    """Return the file of what a command printed."""
    return jobs_folder(project) / f"{shard}.log"


@dataclass(frozen=True)
class Order:
    """A job, and the file by which a node sees that the driver still waits for it."""

    job: Job
    alive: Path

    def write(self, project: Project) -> None:
        """Write it for the node that is to run it."""
        self.alive.touch()
        job = {**self.job.as_json(), "root": ""}  # a node may have another path to the folder
        path = job_file(project, self.job.shard)
        write_json(path, {"schema_version": 1, "job": job, "alive": self.alive.name})

    @classmethod
    def read(cls, project: Project, shard: str) -> Self | None:
        """Return the order for a shard; None if there is none."""
        path = job_file(project, shard)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            job = Job.of_json({**value["job"], "root": str(project.root)})
            return cls(job, path.with_name(Path(value["alive"]).name))
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Outcome:
    """What a node says about a job.

    Parameters
    ----------
    job
        `Job.digest`: what an older run left behind is of another job.
    node
        The node's name.
    result
        The result; None unless the training succeeded.
    error
        The error that `error_of_json` returns; None unless one was raised that is to be reported.
    lost
        Why the job is to be tried again; None if it is not.
    """

    job: str
    node: str
    result: Result | None = None
    error: dict[str, Any] | None = None
    lost: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the node has ended; before, it says only that it has begun."""
        return not (self.result is None and self.error is None and self.lost is None)

    def write(self, project: Project, shard: str) -> None:
        """Write it for the driver."""
        result = None if self.result is None else self.result.as_json()
        value = {"job": self.job, "node": self.node, "result": result}
        more = {"error": self.error, "lost": self.lost}
        write_json(result_file(project, shard), {"schema_version": 1, **value, **more})

    @classmethod
    def read(cls, project: Project, job: Job) -> "Outcome | None":
        """Return what a node says about a job; None if none says anything."""
        folder = jobs_folder(project)
        try:
            # NFS looks again at what is in a folder when the folder is opened.
            with os.scandir(folder) as entries:
                next(entries, None)
            value = json.loads(result_file(project, job.shard).read_text(encoding="utf-8"))
            result = None if value["result"] is None else Result.of_json(value["result"])
            found = cls(value["job"], value["node"], result, value["error"], value["lost"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found.job == job.digest else None
