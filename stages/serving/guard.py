"""What every request passes before it is read: who asks, and from where; and the log."""

import asyncio
import hashlib
import hmac
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from unlearn.stages.serving.answers import dumped
from unlearn.stages.serving.metrics import Metrics
from unlearn.stages.serving.openai_errors import ApiError
from unlearn.stages.serving.protocol import ABORT
from unlearn.stages.serving.settings import Settings, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

#: The status of a request whose client went away, in logs and metrics.
GONE = 499

#: Where a request's scope has whether its client knows the token, or needs none.
KNOWN = "unlearn.known"

#: Paths that the log names. Others may have any text.
PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/health",
    "/metrics",
)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Guard:
    """Lets requests through to an application, and logs method, path and status of each.

    A request needs the token, if there is one. Without a token, only pages and programs of this
    machine may ask: the header `Host` must name it, and a body must be JSON, which no page of
    another site can send unasked.

    Parameters
    ----------
    app
        The application.
    settings
        Has the token.
    metrics
        Counts requests.
    """

    def __init__(self, app: App, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        token = settings.token
        self._token = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, is_complete = time.monotonic(), 0, False

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status, is_complete
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                is_complete = not message.get("more_body", False)
            await self._send(scope, send, message)

        try:
            self._check(scope)
            await self._app(scope, receive, watched)
        except ApiError as error:
            await _answer(error, watched)
        except asyncio.CancelledError:
            # The server ends, and its patience has.
            status = status or GONE
            scope[ABORT]()
        except ConnectionError:
            status = GONE
            scope[ABORT]()
        except Exception as error:  # noqa: BLE001 - its words may be of a prompt: its place is logged
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            _log.error("unexpected %s at %s", type(error).__name__, place)
            if not is_complete:
                scope[ABORT]()
        path = scope["path"] if scope["path"] in PATHS else "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests[path, status or GONE] += 1
        seconds = time.monotonic() - started
        _log.info("%s %s %d %.3f s", method, path, status or GONE, seconds)

    async def _send(self, scope: Scope, send: Send, message: MutableMapping[str, Any]) -> None:
        """Send a part of an answer; a client that does not read it loses its connection."""
        try:
            async with asyncio.timeout(self._settings.limits.client_seconds):
                await send(message)
        except TimeoutError:
            scope[ABORT]()
            raise ConnectionAbortedError from None

    def _check(self, scope: Scope) -> None:
        """Raise an ApiError if a request is not to be answered."""
        headers = dict(scope["headers"])
        scope[KNOWN] = self._token is None or self._knows(headers.get(b"authorization", b""))
        if self._token is not None:
            if scope["path"] != "/health" and not scope[KNOWN]:
                raise ApiError(401, "the token is missing or wrong", code="invalid_api_key")
        elif self._settings.is_loopback and not _is_local(headers.get(b"host", b"")):
            raise ApiError(403, "without a token, only requests to this machine are answered")
        if scope["method"] == "POST":
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind != b"application/json":
                raise ApiError(415, "the content type must be application/json")
            self._check_length(headers.get(b"content-length"))

    def _knows(self, header: bytes) -> bool:
        scheme, _, given = header.partition(b" ")
        wanted = self._token or b""
        # Digests are of one length, whatever was given: the time tells nothing.
        return hmac.compare_digest(_digest(given.strip()), wanted) and scheme.lower() == b"bearer"

    def _check_length(self, length: bytes | None) -> None:
        if length is not None and length.isdigit() and int(length) > self._settings.limits.body:
            raise too_large(self._settings.limits.body)


def too_large(most: int) -> ApiError:
    """Return the error of a body that has more bytes than `most`."""
    return ApiError(413, f"the body is longer than {most:,} bytes", code="request_too_large")


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _is_local(host: bytes) -> bool:
    name = host.decode("latin-1").strip()
    if name.startswith("["):
        return is_loopback(name[1:].partition("]")[0])
    return is_loopback(name.partition(":")[0])


async def _answer(error: ApiError, send: Send) -> None:
    body = dumped(error.as_json())
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        # Its body may not have been read.
        "connection": "close",
        **error.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
