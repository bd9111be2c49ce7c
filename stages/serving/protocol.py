"""Uvicorn's server with limits for clients that are slow, and an exit code of its own."""

import contextlib
import signal
from asyncio import TimerHandle, Transport
from collections.abc import Iterator
from typing import Any

import h11
from uvicorn import Server
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Where a request's scope has the function that ends its connection at once.
ABORT = "unlearn.abort"


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 for clients that may be slow: they get `client_seconds` for a request's head.

    Uvicorn waits for it without end, and waits at the end of a connection until the client has read
    everything.
    """

    #: Seconds for the head of a request; a subclass sets it.
    client_seconds = 10.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: TimerHandle | None = None
        app = self.app

        async def with_abort(scope: Any, receive: Any, send: Any) -> None:
            scope[ABORT] = self.transport.abort
            await app(scope, receive, send)

        self.app = with_abort

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start to wait for the head of a request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that is not used, also if its client has not read all of the answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.client_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()


def protocol_of(client_seconds: float) -> type[LimitedProtocol]:
    """Return the protocol with its time for slow clients (seconds)."""
    return type("_Protocol", (LimitedProtocol,), {"client_seconds": client_seconds})


class QuietServer(Server):
    """A server that ends with a function call, not with the signal that it got."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the request to end, while the block runs."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.signal(one, self.handle_exit) for one in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
