"""Malformed, oversized, slow and aborted requests: the server goes on, as small as before."""

import json
import random
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.stages.serving.conftest import SECRET, Served

pytestmark = pytest.mark.slow

#: The memory of a process is never the same twice (MiB).
GROWTH = 40.0

CHAT = {"model": "authors", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}


def connect(served: Served) -> socket.socket:
    """Return a connection to a server."""
    return socket.create_connection(("127.0.0.1", served.port), timeout=20)


def head(length: int | str, *more: str, path: str = "/v1/chat/completions") -> bytes:
    """Return the head of a request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        *(() if length == "chunked" else (f"content-length: {length}",)),
        *more,
    ]
    return "\r\n".join((*lines, "", "")).encode()


def request(body: Any, *more: str) -> bytes:
    """Return a request with a JSON body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(len(content), *more) + content


def answer(served: Served, sent: bytes) -> bytes:
    """Return all that a server answers."""
    with connect(served) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while part := connection.recv(65_536):
                found += part
        except ConnectionResetError:
            pass
        return found


def abort(connection: socket.socket) -> None:
    """Close a connection without a farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _given_up(served: Served, sent: bytes, read: int) -> None:
    connection = connect(served)
    connection.sendall(sent)
    if read:
        connection.recv(read)
    abort(connection)


def _bad_requests(draw: random.Random) -> list[Callable[[Served], bytes | None]]:
    """Return ways to misuse a server; those that it answers return its answer."""
    deep = b'{"model": ' + b"[" * 5_000
    noise = draw.randbytes(300)
    broken: list[bytes] = [
        b"{",
        b"",
        b"[]",
        b"null",
        b'"' + SECRET.encode() + b'"',
        deep,
        noise,
        b'{"model": "authors", "prompt": "\xff\xfe"}',
        b'{"model": "authors", "messages": [{"role": "user", "content": "\\ud800"}]}',
    ]
    wrong: list[dict[str, Any]] = [
        {"model": 7},
        {"messages": SECRET},
        {"messages": [[]]},
        {"messages": [{"role": SECRET, "content": SECRET}]},
        {"temperature": 1e400},
        {"temperature": "hot"},
        {"max_tokens": 10**30},
        {"max_tokens": -1},
        {"seed": 2**70},
        {"n": 10**9},
        {"stop": [SECRET] * 9},
        {"stop": {"a": 1}},
        {"logit_bias": {"1": 100}},
        {"magic": SECRET},
        {"metadata": {"topic": [SECRET]}},
        {"stream": "yes"},
    ]
    big = b'{"model": "' + SECRET.encode() * 4_000 + b'"}'
    chunk = b"5000\r\n" + b" " * 0x5000 + b"\r\n"
    stream = CHAT | {"stream": True, "max_tokens": 200}
    raw: list[bytes] = [
        noise + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\n\r\n",
        b"GET /"
        + SECRET.encode()
        + b"?q="
        + SECRET.encode()
        + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        head(-1) + b"{}",
        head("12x") + b"{}",
        head("chunked", "transfer-encoding: chunked") + chunk + chunk + b"0\r\n\r\n",
        head("chunked", "transfer-encoding: chunked") + b"zz\r\n",
        head(5, "transfer-encoding: chunked") + b"0\r\n\r\n",
        head(10_000_000) + b"{",
        request(CHAT).replace(b"application/json", b"text/plain"),
        request(CHAT, "expect: 100-continue"),
        request(CHAT) * 3,
        request(big),
    ]

    def answered(sent: bytes) -> Callable[[Served], bytes | None]:
        return lambda served: answer(served, sent)

    def given_up(sent: bytes, read: int = 0) -> Callable[[Served], bytes | None]:
        return lambda served: _given_up(served, sent, read)

    return [
        *(answered(request(body)) for body in broken),
        *(answered(request(CHAT | change)) for change in wrong),
        *map(answered, raw),
        given_up(b""),
        given_up(b"POST /v1/chat"),
        given_up(head(500) + b'{"model'),
        given_up(request(CHAT)),
        given_up(request(stream)),
        given_up(request(stream), 100),
        given_up(request(CHAT | {"max_tokens": 200})),
    ]


def test_a_thousand_bad_requests_leave_the_server_serving(served: Served) -> None:
    client = served.client()
    draw = random.Random(11)  # noqa: S311 - an order

    def use(number: int) -> bytes | None:
        ways = _bad_requests(random.Random(number))  # noqa: S311 - noise
        return ways[number % len(ways)](served)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(use, range(100)))  # what any use takes for good
        served.wait_for("unlearn_answers_running", 0)
        before = served.memory()
        order = list(range(1_000))
        draw.shuffle(order)
        answers = [found for found in pool.map(use, order) if found is not None]
    served.wait_for("unlearn_answers_running", 0)
    served.wait_for("unlearn_answers_waiting", 0)

    assert served.memory() - before < GROWTH
    last = client.chat.completions.create(**CHAT | {"temperature": 0})  # type: ignore[call-overload]
    assert last.usage.completion_tokens == 3
    statuses = {found.split(b" ", 2)[1] for found in answers if found}
    assert statuses == {b"100", b"200", b"400", b"403", b"404", b"413", b"415"}
    assert not any(SECRET.encode() in found for found in answers if b"HTTP/1.1 200" not in found)
    log = served.log.read_text(encoding="utf-8")
    assert SECRET not in log
    assert "Traceback" not in log
    assert "unexpected" not in log


def test_a_client_that_goes_away_frees_its_slot(served: Served) -> None:
    name = 'unlearn_tokens_total{kind="completion"}'
    before = served.metric(name)
    asked = CHAT | {"stream": True, "max_tokens": 450, "temperature": 0}
    connection = connect(served)
    connection.sendall(request(asked))
    assert b"200" in connection.recv(100)
    abort(connection)

    served.wait_for("unlearn_answers_running", 0, seconds=10)

    assert served.metric(name) - before < 450


def test_clients_that_send_slowly_lose_their_connection(served: Served) -> None:
    started = time.monotonic()
    silent, half, slow = connect(served), connect(served), connect(served)
    half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n")
    slow.sendall(head(50) + b"{")

    assert silent.recv(100) == b""
    assert half.recv(100) == b""
    assert slow.recv(100).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 15


def test_a_client_that_does_not_read_loses_its_connection(served: Served) -> None:
    asked = CHAT | {"stream": True, "max_tokens": 450, "temperature": 0, "n": 8}
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    connection.connect(("127.0.0.1", served.port))
    count = 'unlearn_requests_total{endpoint="/v1/chat/completions",status="499"}'
    before = served.metric(count)
    more = {"logprobs": True, "top_logprobs": 20}
    connection.sendall(request(asked | more))

    served.wait_for(count, before + 1)

    served.wait_for("unlearn_answers_running", 0)


def test_too_many_requests_are_told_to_come_back(served: Served) -> None:
    client = served.client()
    asked: dict[str, Any] = CHAT | {"max_tokens": 20, "n": 30, "temperature": 1}

    def one(_number: int) -> int:
        return client.chat.completions.with_raw_response.create(**asked).status_code

    def tried(number: int) -> Any:
        try:
            return one(number)
        except Exception as error:  # noqa: BLE001 - whatever it is is compared
            return error

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(tried, range(3)))
    refused = [error for error in found if error != 200]

    assert 200 in found
    assert {error.status_code for error in refused} == {429}
    assert {error.response.headers["retry-after"] for error in refused} == {"1"}
    assert {error.code for error in refused} == {"queue_full"}
