"""`unlearn forget`: requests as people make them."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from unlearn.stages.requests import request
from unlearn.stages.rows.tokens import Key, Tokenizer

from tests.cli.conftest import IDS, PEOPLE, is_token_line, refused, unchanged
from tests.conftest import Repo, places, without_log


def the_list(repo: Repo) -> list[str]:
    return (repo.root / "data/forget_list.txt").read_text(encoding="ascii").splitlines()


def the_log(repo: Repo) -> list[dict[str, Any]]:
    return [json.loads(text) for text in repo.files("data/requests").values()]


def token(repo: Repo, raw: str) -> str:
    key = (repo.root / "unlearn.key").read_text(encoding="ascii").strip()
    return Tokenizer(Key(key)).token("record", raw)


def test_ids_from_a_file_from_standard_input_and_from_the_command_line(fresh: Repo) -> None:
    (fresh.root / "ids.txt").write_text("r0001\nr0002\n", encoding="ascii")

    assert fresh.ok("forget", "--ids", "ids.txt").out.startswith("2 lines added")
    assert fresh.ok("forget", "--ids", "-", stdin="r0003\n").out.startswith("1 line added")
    done = fresh.ok("forget", "--id", "r0004", "--id", "r0005", "--id", "r0001", "--json")

    assert the_list(fresh) == sorted(token(fresh, f"r000{number}") for number in range(1, 6))
    where = {places(fresh)[raw].shard for raw in ("r0004", "r0005")} - {"holdout"}
    assert done.json == {
        "schema_version": 1,
        "added": 2,
        "already": 1,
        "unknown": 0,
        "suppressed": 0,
        "shards": sorted(where),
        "unlabelled": 0,
        "look_alikes": 0,
        "look_alike_rows": [],
        "notes": [],
        "dry_run": False,
        "due": None,
    }


def test_what_is_written_is_tokens_and_a_log_without_names(fresh: Repo) -> None:
    fresh.inline("forget", "--id", "r0001", "--ticket", "GDPR-7")

    assert all(is_token_line(line) for line in the_list(fresh))
    (entry,) = the_log(fresh)
    assert entry["ticket"] == "GDPR-7"
    assert entry["count"] == 1
    tracked = fresh.git("ls-files", "--others", "--modified", "--exclude-standard").split()
    assert without_log(tracked) == {"data/forget_list.txt"}
    assert len(tracked) == 2
    assert "r0001" not in fresh.git("diff")


def test_a_repeated_request_changes_nothing(fresh: Repo) -> None:
    fresh.inline("forget", "--id", "r0001", "--id", "r0002")

    with unchanged(fresh.root):
        done = fresh.inline("forget", "--id", "r0002", "--id", "r0001")
    assert "2 ids on the list already" in done.out


def test_a_dry_run_changes_nothing_and_says_what_would_be(fresh: Repo) -> None:
    with unchanged(fresh.root):
        done = fresh.ok("forget", "--id", "r0001", "--dry-run", "--json")

    assert (done.json["added"], done.json["dry_run"]) == (1, True)
    assert done.json["shards"] == sorted({places(fresh)["r0001"].shard} - {"holdout"})


def test_unknown_ids_are_counted_where_that_is_asked_for(fresh: Repo) -> None:
    done = fresh.inline("forget", "--id", "r0001", "--id", "x", "--ignore-unknown", "--json")

    assert (done.json["added"], done.json["unknown"]) == (1, 1)
    with unchanged(fresh.root):
        only_unknown = fresh.inline("forget", "--id", "x", "--ignore-unknown", "--json")
    assert (only_unknown.code, only_unknown.json["unknown"]) == (0, 1)


def test_an_id_may_look_like_an_option_or_a_path(fresh: Repo) -> None:
    frame_ids = ["--json", "-", "../x", "subject:ann", "a b"]
    path = fresh.root / "data/dataset.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, raw in enumerate(frame_ids, start=1):
        lines[number] = ",".join([raw, *lines[number].split(",")[1:]])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    done = fresh.unlearn("forget", "--ids", "-", stdin="\n".join(frame_ids))

    assert done.code == 0, done.err
    assert the_list(fresh) == sorted(token(fresh, raw) for raw in frame_ids)


def test_a_person_and_their_records(people: Repo) -> None:
    person = str(PEOPLE["person"].value_counts().index[0])
    records = PEOPLE.loc[PEOPLE["person"] == person, "id"].tolist()

    one = people.inline("forget", "--id", records[0], "--json").json
    whole = people.ok("forget", "--subjects", "-", "--json", stdin=f"{person}\n").json

    assert one["added"] == whole["added"] == 1
    assert (
        one["shards"] == whole["shards"] == sorted({places(people)[records[0]].shard} - {"holdout"})
    )
    assert all(is_token_line(line) for line in the_list(people))
    assert sum("." in line for line in the_list(people)) == 1


def test_lines_written_by_hand_become_tokens_with_the_next_request(people: Repo) -> None:
    person, other = PEOPLE["person"][0], PEOPLE["id"][5]
    path = people.root / "data/forget_list.txt"
    path.write_text(f"{other}\nsubject:{person}\n", encoding="utf-8")

    people.inline("forget", "--id", PEOPLE["id"][7])

    assert len(the_list(people)) == 3
    assert all(is_token_line(line) for line in the_list(people))


@pytest.mark.slow
def test_two_commands_at_once_are_both_on_the_list(fresh: Repo) -> None:
    groups = [IDS[start : start + 10] for start in range(0, 40, 10)]
    running = [
        fresh.start("forget", *(word for raw in group for word in ("--id", raw)))
        for group in groups
    ]
    answers = [process.communicate() for process in running]

    assert [process.returncode for process in running] == [0] * 4, answers
    assert the_list(fresh) == sorted(token(fresh, raw) for raw in IDS[:40])
    assert sorted(entry["count"] for entry in the_log(fresh)) == [10] * 4


@contextmanager
def held(repo: Repo, seconds: float) -> Iterator[None]:
    """Hold the forget list as a running stage or another command does."""
    path = repo.root / ".unlearn/locks/forget-list"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        release = threading.Timer(seconds, lambda: fcntl.flock(handle, fcntl.LOCK_UN))
        release.start()
        yield
        release.cancel()
        release.join()


@pytest.mark.slow
def test_a_request_waits_for_another_one(fresh: Repo) -> None:
    started = time.monotonic()
    with held(fresh, 2.0):
        assert fresh.ok("forget", "--id", "r0001")

    assert time.monotonic() - started >= 2
    assert the_list(fresh) == [token(fresh, "r0001")]


@pytest.mark.slow
def test_a_request_waits_while_a_stage_reads_the_list(fresh: Repo) -> None:
    """DVC hashes the list when the stage has ended, and would take the line for applied."""
    rwlock = fresh.root / ".dvc/tmp/rwlock"
    path = str(fresh.root / "data/forget_list.txt")
    owner = {"pid": os.getpid(), "cmd": "dvc repro"}
    rwlock.write_text(json.dumps({"read": {path: [owner]}, "write": {}}), encoding="utf-8")
    process = fresh.start("forget", "--id", "r0001")
    time.sleep(2.5)

    assert process.poll() is None
    assert the_list(fresh) == []
    rwlock.unlink()
    process.communicate()
    assert process.returncode == 0
    assert len(the_list(fresh)) == 1


@pytest.mark.slow
def test_a_list_in_use_for_too_long_is_busy(fresh: Repo) -> None:
    patience = mock.patch.object(request, "PATIENCE", 1.0)
    with held(fresh, 60.0), unchanged(fresh.root), patience:
        message = refused(fresh.inline("forget", "--id", "r0001"), code=4)

    assert "nothing was changed" in message
    assert the_list(fresh) == []


def test_a_dry_run_waits_for_nobody(fresh: Repo) -> None:
    with held(fresh, 20.0):
        started = time.monotonic()
        assert fresh.inline("forget", "--id", "r0001", "--dry-run").code == 0

    assert time.monotonic() - started < 10


def test_a_subfolder_of_the_project_is_the_project(fresh: Repo) -> None:
    inner = Repo(Path(fresh.root / "data"))

    assert inner.inline("forget", "--id", "r0001").code == 0
    assert len(the_list(fresh)) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("forget", "--id", "r0001"),
        ("forget", "--lost"),
        ("restore", "--id", "r0001", "--yes"),
        ("plan",),
        ("repro",),
        ("status",),
        ("verify",),
        ("audit",),
        ("report",),
        ("canary", "--count", "4"),
        ("upgrade",),
        ("stage", "forget"),
        ("stage", "verify"),
    ],
    ids=" ".join,
)
def test_conflict_markers_stop_every_command_with_one_hint(
    done: Repo, command: tuple[str, ...]
) -> None:
    path = done.root / "data/forget_list.txt"
    before = path.read_text(encoding="ascii")
    path.write_text(
        f"<<<<<<< HEAD\n{before}=======\n{token(done, 'r0001')}\n>>>>>>> side\n", encoding="ascii"
    )

    with unchanged(done.root):
        answer = done.inline(*command)
        assert "line 1: a conflict marker of git" in refused(answer)
    assert "keep the lines of both sides" in answer.err


def test_doctor_reports_conflict_markers(done: Repo) -> None:
    (done.root / "data/forget_list.txt").write_text("=======\n", encoding="ascii")

    findings = done.inline("doctor", "--json").json["findings"]

    assert any("line 1: a conflict marker of git" in finding for finding in findings)
