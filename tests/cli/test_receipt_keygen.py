"""`unlearn receipt keygen`: private keys outside every repository, public ones in the project."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts import keygen as keygen_module
from unlearn.stages.receipts.keys import Keys
from unlearn.stages.receipts.store import read_keys

from tests.cli.conftest import refused, unchanged
from tests.cli.receipts import WORDS
from tests.conftest import Done, Repo

ENVIRONMENT = {
    "UNLEARN_RECEIPT_PASSPHRASE": WORDS,
    "UNLEARN_RECEIPT_PREVIOUS_PASSPHRASE": WORDS,
}


def keygen(repo: Repo, private: Path, *more: str) -> Done:
    line = ("receipt", "keygen", "--private", str(private), *more)
    with mock.patch.dict(os.environ, ENVIRONMENT):
        return repo.inline(*line)


def made(repo: Repo, private: Path, *more: str) -> dict[str, Any]:
    done = keygen(repo, private, "--json", *more)
    assert done.code == 0, done.err
    return done.json


def test_a_private_key_is_encrypted_and_its_owner_s_alone(fresh: Repo, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"

    answer = made(fresh, path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text(encoding="ascii").startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    (key,) = read_keys(Project(fresh.root))
    assert answer["file"] == f"data/receipts/keys/{key.keyid}.json"
    assert answer["project"] == key.statement.project
    # OpenSSL, which knows nothing of us, opens it with the passphrase and finds the same key.
    line = ["openssl", "pkey", "-in", str(path), "-passin", f"pass:{WORDS}", "-pubout"]
    out = subprocess.run([*line, "-outform", "DER"], check=True, capture_output=True).stdout
    assert out[-32:].hex() == key.statement.public
    wrong = [*line[:4], "-passin", "pass:wrong", "-pubout"]
    assert subprocess.run(wrong, check=False, capture_output=True).returncode != 0


def test_a_new_key_follows_the_one_before_it(fresh: Repo, tmp_path: Path) -> None:
    first = made(fresh, tmp_path / "1.pem")
    assert "--previous names the signer" in keygen(fresh, tmp_path / "2.pem").err

    second = made(fresh, tmp_path / "2.pem", "--previous", str(tmp_path / "1.pem"))

    assert second["previous"] == first["keyid"]
    assert second["project"] == first["project"]
    keys = {key.keyid: key for key in read_keys(Project(fresh.root))}
    trusted = Keys([keys[first["keyid"]]], keys.values())
    assert second["keyid"] in trusted


def test_a_key_has_one_follower(fresh: Repo, tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{number}.pem" for number in (1, 2, 3))
    before = made(fresh, first)
    made(fresh, second, "--previous", str(first))

    done = keygen(fresh, third, "--previous", str(first))

    assert refused(done).startswith(f"the previous key {before['keyid'][:12]} is followed by")
    assert "the signer of the newest key" in done.err
    assert not third.exists()
    assert made(fresh, third, "--previous", str(second))["project"] == before["project"]


class _Later(datetime):
    """A clock that is two years ahead."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        assert tz is UTC
        return datetime.now(UTC) + timedelta(days=730)


def test_a_key_that_ended_cannot_be_followed(
    fresh: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "1.pem", tmp_path / "2.pem"
    until = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    before = made(fresh, first, "--until", until)
    monkeypatch.setattr(keygen_module, "datetime", _Later)

    done = keygen(fresh, second, "--previous", str(first))

    assert refused(done) == (
        f"the previous key {before['keyid'][:12]} ended on {until}: it may not sign any more"
    )
    assert not second.exists()
    both = ("--previous", str(first), "--without-previous")
    assert "not both" in refused(keygen(fresh, second, *both))
    answer = made(fresh, second, "--without-previous")
    assert (answer["previous"], answer["project"]) == (None, before["project"])


def test_two_followers_of_one_key_are_refused(fresh: Repo, tmp_path: Path) -> None:
    """Two branches that both followed the key, and were merged."""
    first = tmp_path / "1.pem"
    made(fresh, first)
    other = fresh.copy(tmp_path / "other")
    made(fresh, tmp_path / "2.pem", "--previous", str(first))
    answer = made(other, tmp_path / "3.pem", "--previous", str(first))
    shutil.copy(other.root / answer["file"], fresh.root / answer["file"])

    for previous in ("2.pem", "3.pem"):
        done = keygen(fresh, tmp_path / "4.pem", "--previous", str(tmp_path / previous))
        assert "data/receipts/keys: several keys follow the key" in refused(done)
        assert "delete the file of each key but the right one" in done.err
    (fresh.root / answer["file"]).unlink()
    made(fresh, tmp_path / "4.pem", "--previous", str(tmp_path / "2.pem"))


@pytest.mark.parametrize("name", ["key.pem", "data/key.pem", ".git/key.pem", "data/receipts/x.pem"])
def test_a_private_key_never_goes_into_a_repository(fresh: Repo, name: str) -> None:
    path = fresh.root / name
    (fresh.root / "data/receipts").mkdir(exist_ok=True)
    with unchanged(fresh.root):
        assert "would be in a git repository" in refused(keygen(fresh, path))


def test_a_link_into_a_repository_is_refused_too(fresh: Repo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(fresh.root / "data")

    assert "in a git repository" in refused(keygen(fresh, tmp_path / "elsewhere/key.pem"))


def test_bad_input_changes_nothing(fresh: Repo, tmp_path: Path) -> None:
    there = tmp_path / "there.pem"
    there.write_text("something", encoding="ascii")
    path = tmp_path / "key.pem"
    short = {**ENVIRONMENT, "UNLEARN_RECEIPT_PASSPHRASE": "short"}
    with unchanged(fresh.root):
        assert "never overwritten" in refused(keygen(fresh, there))
        assert "no folder" in refused(keygen(fresh, tmp_path / "none/key.pem"))
        assert "end before it begins" in refused(keygen(fresh, path, "--until", "2020-01-01"))
        line = ("receipt", "keygen", "--private", str(path))
        assert "at least 8 characters" in refused(fresh.unlearn(*line, env=short))
        assert "no passphrase" in refused(fresh.unlearn(*line, stdin=""))
        assert "pass --private FILE" in refused(fresh.unlearn("receipt", "keygen"))
        both = ("--signer", "command:true", "--public", str(there))
        assert "is not an Ed25519 public key" in refused(
            fresh.unlearn("receipt", "keygen", *both, env=ENVIRONMENT)
        )
    assert there.read_text(encoding="ascii") == "something"
    assert not path.exists()


def test_keys_of_two_projects_are_refused(fresh: Repo, tmp_path: Path) -> None:
    assert keygen(fresh, tmp_path / "1.pem").code == 0
    other = fresh.copy(tmp_path / "other")
    for file in (other.root / "data/receipts/keys").iterdir():
        file.unlink()
    answer = made(other, tmp_path / "2.pem")
    content = (other.root / answer["file"]).read_bytes()
    (fresh.root / answer["file"]).write_bytes(content)

    message = refused(keygen(fresh, tmp_path / "3.pem", "--previous", str(tmp_path / "1.pem")))

    assert message == "the keys in data/receipts/keys name several projects"


def test_a_damaged_key_is_named(fresh: Repo, tmp_path: Path) -> None:
    answer = made(fresh, tmp_path / "1.pem")
    path = fresh.root / answer["file"]
    path.write_text(json.dumps(json.loads(path.read_bytes())), encoding="ascii")

    message = refused(keygen(fresh, tmp_path / "2.pem", "--previous", str(tmp_path / "1.pem")))

    assert message == f"{answer['file']} is not a whole public key"
