"""The options of `unlearn repro` that say where shards are trained."""

import os
from dataclasses import dataclass
from enum import StrEnum

from unlearn.cli.output import say
from unlearn.stages.context import Context
from unlearn.stages.engines.local import LocalEngine
from unlearn.stages.engines.pool import Pool
from unlearn.stages.engines.protocol import Engine
from unlearn.stages.errors import InputError

#: Names the template where there is no `--command`; only the engine `command` reads it.
COMMAND_VARIABLE = "UNLEARN_COMMAND"


class EngineName(StrEnum):
    """Where shards are trained."""

    LOCAL = "local"
    RAY = "ray"
    COMMAND = "command"


@dataclass(frozen=True)
class EngineChoice:
    """What the options say.

    Parameters
    ----------
    name
        The engine.
    jobs
        How many shards may be trained at a time; None for the number of processors.
    command
        The template of the engine `command`.
    address
        That of the engine `ray`.
    """

    name: EngineName = EngineName.LOCAL
    jobs: int | None = None
    command: str | None = None
    address: str | None = None

    @property
    def parallel(self) -> int:
        """How many shards may be trained at a time."""
        return self.jobs or os.cpu_count() or 1

    def check(self) -> None:
        """Check that the options fit together.

        Raises
        ------
        InputError
            If an option belongs to another engine.
        """
        if self.command is not None and self.name is not EngineName.COMMAND:
            raise InputError(
                "--command belongs to --engine command", f"--engine is {self.name.value}"
            )
        if self.address is not None and self.name is not EngineName.RAY:
            raise InputError("--address belongs to --engine ray", f"--engine is {self.name.value}")

    def make(self, context: Context, pool: Pool) -> Engine:
        """Return the engine; it starts nothing before it trains.

        Parameters
        ----------
        context
            The project.
        pool
            The processes of this machine.

        Raises
        ------
        InputError
            If the options do not fit together, or do not suit the project.
        """
        self.check()
        if self.name is EngineName.LOCAL:
            return LocalEngine(pool, self.parallel, say)
        if context.params.kind != "exact":
            raise InputError(
                f"--engine {self.name.value} trains shards, and this project has one model",
                "run `unlearn repro` without --engine",
            )
        if self.name is EngineName.RAY:
            from unlearn.stages.engines.ray_engine import RayEngine  # noqa: PLC0415 - of one engine

            return RayEngine(self.address, self.jobs, say)
        return self._command(context)

    def _command(self, context: Context) -> Engine:
        from unlearn.stages.engines.command import CommandEngine  # noqa: PLC0415 - of one engine
        from unlearn.stages.engines.template import Template  # noqa: PLC0415

        text = self.command or os.environ.get(COMMAND_VARIABLE)
        if not text:
            raise InputError(
                f"--engine command needs --command or {COMMAND_VARIABLE}: what trains one shard",
                "for example: --command 'ssh node cd {root} && unlearn stage train@{shard}'",
            )
        template = Template.parse(text)
        template.check(context.project.root, context.key)
        return CommandEngine(template, self.parallel, say)
