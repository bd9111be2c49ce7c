"""When a server starts, which model it takes, and when it no longer answers."""

import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from unlearn.stages.serving.protocol import QuietServer

from tests.conftest import Repo
from tests.stages.serving.conftest import AUTHORS, SECRET, Served, run_stages, serving

#: Their project takes longer to make than all of them.
pytestmark = pytest.mark.slow

TOKEN = SECRET + "0123456789"

#: What /metrics says after one change of the model.
LOADED = 'unlearn_reloads_total{result="loaded"} 1'
CHAT = {"model": "authors", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}


def refused(repo: Repo, *options: str) -> str:
    """Return why a server does not start; one that would start ends before its first answer."""
    with mock.patch.object(QuietServer, "run", side_effect=AssertionError("it has started")):
        done = repo.inline("serve", "--port", "0", *options)
    assert done.code == 2, done.err
    return done.err


def forget(repo: Repo, number: int) -> None:
    """Put an author of the training rows on the forget list."""
    (repo.root / "people.txt").write_text(AUTHORS[number].author, encoding="utf-8")
    done = repo.inline("forget", "--subjects", "people.txt", "--json")
    (repo.root / "people.txt").unlink()
    assert done.code == 0, done.err
    assert done.json["shards"], "the author is held out"


def test_only_a_verified_model_of_text_is_served(tuned: Repo, tmp_path: Path) -> None:
    assert "needs a token" in refused(tuned, "--host", "0.0.0.0")  # noqa: S104 - refused
    (tmp_path / "short").write_text("abc")
    assert "16 or more" in refused(tuned, "--token-file", str(tmp_path / "short"))
    assert "--max-stale 5 is no duration" in refused(tuned, "--max-stale", "5")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1, port {port}" in refused(tuned, "--port", port)
    forget(tuned, 0)
    said = refused(tuned, "--allow-inconclusive")
    assert "the verdict of `unlearn verify --full` is stale, not pass" in said
    assert "the forget list has changed" in said
    tuned.git("checkout", "--quiet", "data")
    tuned.git("clean", "-fdq", "data")
    adapter = next((tuned.root / "models/final_model/members").rglob("*.safetensors"))
    content = bytearray(adapter.read_bytes())
    content[-1] ^= 1
    adapter.chmod(0o644)
    adapter.write_bytes(content)
    assert "models/final_model is not the one in dvc.lock" in refused(tuned)
    shutil.rmtree(tuned.root / "models/final_model")
    assert "there is no models/final_model on this machine" in refused(tuned)


def test_a_verdict_of_inconclusive_is_enough_for_approximate_models_alone(tuned: Repo) -> None:
    from unlearn.stages.audit.present import find_verdict
    from unlearn.stages.errors import InputError
    from unlearn.stages.project.paths import Project
    from unlearn.stages.serving.gate import check_verdict

    present = find_verdict(Project(tuned.root))
    report = present.found.report

    def admitted(verdict: str, label: str, *, allowed: bool) -> bool:
        report.__dict__.update(verdict=verdict, label=label)
        try:
            check_verdict(present, allow_inconclusive=allowed)
        except InputError:
            return False
        return True

    found = {
        (verdict, label, allowed)
        for verdict in ("pass", "fail", "inconclusive")
        for label in ("exact", "approximate")
        for allowed in (False, True)
        if admitted(verdict, label, allowed=allowed)
    }
    passing = {("pass", label, allowed) for label in ("exact", "approximate") for allowed in (0, 1)}
    assert found == passing | {("inconclusive", "approximate", True)}


@pytest.fixture
def guarded(tuned: Repo, tmp_path: Path) -> Iterator[tuple[Repo, Served]]:
    """Yield a project and a server of it that needs a token and looks for changes all the time."""
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    options = ("--token-file", str(token), "--check-every", "0.2s", "--max-stale", "3s")
    with serving(tuned, tmp_path / "log.txt", *options) as served:
        yield tuned, served


def test_a_request_to_forget_is_waited_for_then_honoured(
    guarded: tuple[Repo, Served],
) -> None:
    import openai

    repo, served = guarded
    for token in ("wrong" * 5, TOKEN[:-1], ""):
        with pytest.raises(openai.AuthenticationError):
            served.client(token or "x").models.list()
        assert served.get("/metrics", token)[0] == 401
    assert served.get("/health") == (200, '{"status":"ok"}')
    client = served.client(TOKEN)
    first = client.models.list().data[0].model_extra or {}
    stream = client.chat.completions.create(**CHAT | {"max_tokens": 400, "stream": True})  # type: ignore[call-overload]
    next(stream)

    # A request is pending: the model answers for a while, and then no more.
    forget(repo, 0)
    client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
    code, body = wait_for_status(served, 503)
    assert json.loads(body)["pending_requests"] == 1
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
    assert (code, caught.value.status_code, caught.value.code) == (503, 503, "model_stale")

    # A commit whose models are not verified changes nothing.
    lock = repo.root / "dvc.lock"
    before = lock.read_bytes()
    lock.write_bytes(before + b"# not verified\n")
    repo.commit("not verified")
    health = wait_for_failure(served)
    assert "is stale, not pass" in health["reload_failed"]
    assert health["generation"] == first["generation"]
    lock.write_bytes(before)

    # A run honours the request, and its commit replaces the model.
    run_stages(repo, "honoured")
    assert wait_for_status(served, 200)[0] == 200
    second = client.models.list().data[0].model_extra or {}
    assert second["generation"] != first["generation"]
    assert (first["lines_honoured"], second["lines_honoured"]) == (0, 1)
    answer = client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
    assert answer.system_fingerprint == f"fp_{second['generation']}"
    assert {event.system_fingerprint for event in stream} == {f"fp_{first['generation']}"}
    metrics = served.get("/metrics", TOKEN)[1]
    assert LOADED in metrics

    # What runs when the signal comes is finished.
    last = client.chat.completions.create(**CHAT | {"max_tokens": 30, "stream": True})  # type: ignore[call-overload]
    next(last)
    served.process.send_signal(signal.SIGTERM)
    assert [event for event in last if event.choices][-1].choices[0].finish_reason
    assert served.process.wait(timeout=30) == 0
    log = served.log.read_text(encoding="utf-8")
    assert SECRET not in log
    assert AUTHORS[0].author not in log


def wait_for_status(served: Served, status: int) -> tuple[int, str]:
    """Wait until /health has a status."""
    return _until(served, lambda found: found[0] == status)


def wait_for_failure(served: Served) -> dict[str, str]:
    """Wait until /health says that a model was not loaded; fail at once if it was."""

    def has_failed(found: tuple[int, str]) -> bool:
        assert LOADED not in served.get("/metrics", TOKEN)[1], "the model was replaced"
        return bool(json.loads(found[1])["reload_failed"])

    health: dict[str, str] = json.loads(_until(served, has_failed)[1])
    return health


def _until(served: Served, is_there: Callable[[tuple[int, str]], bool]) -> tuple[int, str]:
    end = time.monotonic() + 20
    while not is_there(found := served.get("/health", TOKEN)):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found
