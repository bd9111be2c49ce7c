"""Running a server: from the project to the last answer."""

import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.serving.app import make_app
from unlearn.stages.serving.gate import check_text
from unlearn.stages.serving.generation import Generation, load_generation
from unlearn.stages.serving.metrics import Metrics
from unlearn.stages.serving.protocol import QuietServer, protocol_of
from unlearn.stages.serving.settings import Settings
from unlearn.stages.serving.state import State

#: Seconds for running requests when the server ends.
_LAST_SECONDS = 5

#: Connections that wait to be accepted.
_BACKLOG = 256


def serve(project: Project, settings: Settings, ready: Callable[[Generation, str], None]) -> None:
    """Verify and load the final model, and answer requests until SIGINT or SIGTERM.

    Parameters
    ----------
    project, settings
        The project, and how the server is run.
    ready
        Called with the model and the address when the server takes requests.

    Raises
    ------
    InputError
        If the model may not be served, or the address is not to be had.
    """
    settings.check()
    check_text(project)
    with _bound(settings.host, settings.port) as listener:
        generation = load_generation(
            project, base=settings.base, allow_inconclusive=settings.allow_inconclusive
        )
        _log_to_stderr()
        metrics = Metrics()
        state = State(project, settings, generation, metrics.reloads)
        limits = settings.limits
        config = uvicorn.Config(
            make_app(settings, state, metrics),
            http=protocol_of(limits.client_seconds),
            ws="none",
            loop="asyncio",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=max(1, round(limits.client_seconds)),
            timeout_graceful_shutdown=_LAST_SECONDS,
            backlog=_BACKLOG,
        )
        ready(generation, _address(settings.host, listener))
        QuietServer(config).run(sockets=[listener])


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket at an address, before anything takes time."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Now, so that no second server binds the port while the model is loaded.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen on {host}, port {port}: {error.strerror or 'no such address'}",
            "choose another one with --port" if port else "choose another --host",
        ) from None
    return listener


def _address(host: str, listener: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


def _log_to_stderr() -> None:
    """Log requests and problems on standard error. None of them has text of a request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("unlearn.stages.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
