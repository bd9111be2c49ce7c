"""With a wrong key, no key or another algorithm, no stage does anything."""

import secrets
from collections.abc import Callable

import pytest
from unlearn.stages.config.params import ALGORITHM

from tests.conftest import Repo, drop_rows
from tests.pipeline.conftest import ids_at, run_repro


def _wrong_key(repo: Repo) -> dict[str, str]:
    (repo.root / "unlearn.key").write_text(secrets.token_hex(32), encoding="ascii")
    return {}


def _no_key(repo: Repo) -> dict[str, str]:
    (repo.root / "unlearn.key").unlink()
    return {}


def _wrong_key_in_the_environment(_repo: Repo) -> dict[str, str]:
    # It goes before the right one in the file: what is set on purpose must not be passed over.
    return {"UNLEARN_KEY": secrets.token_hex(32)}


def _no_key_at_all(repo: Repo) -> dict[str, str]:
    (repo.root / "unlearn.key").write_text("not a key\n", encoding="ascii")
    return {}


def _another_algorithm(repo: Repo) -> dict[str, str]:
    repo.set_params(algorithm=ALGORITHM + 1)
    return {}


GUARDS: dict[str, tuple[Callable[[Repo], dict[str, str]], str]] = {
    "wrong key": (_wrong_key, "unlearn.key is not the key of this project"),
    "no key": (_no_key, "there is no project key"),
    "environment": (_wrong_key_in_the_environment, "the key in UNLEARN_KEY is not the key"),
    "not a key": (_no_key_at_all, "unlearn.key is not 64 lower-case hexadecimal digits"),
    "algorithm": (
        _another_algorithm,
        f"asks for algorithm {ALGORITHM + 1}; this tool implements {ALGORITHM}",
    ),
}


@pytest.fixture
def stale(mlp: Repo) -> Repo:
    """Return a project in which every stage would have something to do."""
    drop_rows(mlp, ids_at(mlp, "s000")[:2])
    mlp.forget(ids_at(mlp, "s001")[:2])
    for shard in ("s002", "s003"):
        (mlp.root / f"models/shard_models/{shard}/model.safetensors").unlink()
    return mlp


@pytest.mark.parametrize("guard", GUARDS)
def test_nothing_runs(stale: Repo, guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up, expected = GUARDS[guard]
    for name, value in set_up(stale).items():
        monkeypatch.setenv(name, value)
    before = stale.snapshot()

    for stage in ("recipe", "shard", "forget", "train@s001", "train@s002", "aggregate", "verify"):
        done = stale.inline("stage", stage)
        assert (stage, done.code) == (stage, 2)
        assert expected in done.err
        assert stale.snapshot() == before
    for arguments in (("forget", "--id", "r0000"), ("plan",)):
        assert stale.inline(*arguments).code == 2
    # `status` needs no key: it says what it can without one.
    assert stale.inline("status").code == (0 if guard == "no key" else 2)

    # As processes, the way a user meets them.
    by_unlearn = stale.unlearn("repro", "-j", "1")
    assert by_unlearn.code == 2
    assert by_unlearn.err.startswith("error: ")
    assert expected in by_unlearn.err
    code, said = run_repro(stale, "dvc")
    assert code != 0
    assert expected in said
    assert stale.snapshot() == before
