"""A small project of two adapters, and servers of it as processes on free ports."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from unlearn.cli.examples.authors import jsonl, make_authors

from tests.conftest import Repo, start_repositories, use_key

if TYPE_CHECKING:
    from openai import OpenAI

#: In prompts and tokens; no log may have it.
SECRET = "Zanzibar"

AUTHORS = make_authors(8, 5)

#: With another key the first authors may be held out: no model would change without them.
KEY = hashlib.sha256(b"authors that are served").hexdigest()

TEMPLATE = (
    "{% for m in messages %}<|begin|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"
)

#: Longer than any row: answers have room.
CONTEXT = 512


@dataclass
class Served:
    """A server that runs."""

    process: "subprocess.Popen[bytes]"
    address: str
    log: Path

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.address.rpartition(":")[2])

    def client(self, token: str = "none", **more: Any) -> "OpenAI":  # noqa: S107 - it is none
        """Return the official client."""
        from openai import OpenAI  # only slow tests ask for it

        more = {"max_retries": 0, "timeout": 60} | more
        return OpenAI(base_url=f"{self.address}/v1", api_key=token, **more)

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        """Return status and body of a page."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        request = urllib.request.Request(self.address + path, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self) -> dict[str, Any]:
        """Return what /health says."""
        found = json.loads(self.get("/health")[1])
        assert isinstance(found, dict)
        return found

    def metric(self, name: str) -> float:
        """Return a number of /metrics."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def wait_for(self, name: str, value: float, seconds: float = 30) -> None:
        """Wait until a metric has a value."""
        end = time.monotonic() + seconds
        while self.metric(name) != value:
            assert time.monotonic() < end, f"{name}: {self.metric(name)}"
            time.sleep(0.05)

    def memory(self) -> float:
        """Return the memory of the process (MiB)."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def stop(self, sent: int = signal.SIGTERM) -> int:
        """End it with a signal; return its exit code."""
        self.process.send_signal(sent)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def serving(
    repo: Repo, log: Path, *options: str, env: dict[str, str] | None = None
) -> Iterator[Served]:
    """Run a server on a free port while the block runs."""
    with log.open("wb") as handle:
        process = subprocess.Popen(
            [sys.executable, "-m", "unlearn.cli", "serve", "--port", "0", *options],
            cwd=repo.root,
            stdout=handle,
            stderr=handle,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        )
    try:
        end = time.monotonic() + 300
        while (found := re.search(r"on (http://\S+)\n", log.read_text(encoding="utf-8"))) is None:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.05)
        yield Served(process, found[1], log)
    finally:
        process.kill()
        process.wait()


def make_chat_base(folder: Path) -> None:
    """Write a base that has learned nothing, whose tokenizer has a chat template."""
    from transformers import AutoTokenizer

    from tests.language_models import make_blank_base

    make_blank_base(
        folder,
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        # The most probable token is so by more than rounding.
        initializer_range=0.3,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def run_stages(repo: Repo, message: str) -> None:
    """Do what `unlearn repro` does, in this process, and commit it."""
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    repo.commit(message)


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    folder = tmp_path_factory.mktemp("serving")
    repo = start_repositories(folder / "authors")
    base = repo.root / "models/base"
    make_chat_base(base)
    (folder / "rows.jsonl").write_bytes(jsonl(AUTHORS))
    columns = ("--id", "id", "--subject", "author", "--topic", "topic")
    texts = ("--prompt", "prompt", "--completion", "completion")
    sizes = ("--context", str(CONTEXT), "--shards", "2", "--slices", "1")
    source = ("--dataset", str(folder / "rows.jsonl"), "--base", str(base))
    done = repo.inline("init", ".", *source, *columns, *texts, *sizes)
    assert done.code == 0, done.err
    use_key(repo, KEY)
    train = repo.params()["train"]
    options = train["options"] | {"rank": 4, "alpha": 8.0}
    repo.set_params(train=train | {"epochs": 1, "batch": 8, "device": "cpu", "options": options})
    repo.commit("start")
    run_stages(repo, "tuned")
    yield repo
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tuned(project: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a verified project, for the test to change."""
    copy = project.copy(tmp_path / "authors")
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


@pytest.fixture(scope="package")
def served(project: Repo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Yield a server that tests share; none of them changes its project."""
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    options = ("--client-timeout", "2s", "--slots", "8", "--queue", "60", "--max-body", "20000")
    with serving(project, log, *options) as found:
        yield found
