"""Rotating the project key: nobody comes back, and nothing that was logged changes."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
from unlearn.stages.audit.copies import Search
from unlearn.stages.context import open_project
from unlearn.stages.erasure.record import read_start, suppress_rows
from unlearn.stages.ledger.suppressed import read_suppressed
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.canaries import coin
from unlearn.stages.rows.epochs import FIRST, is_token_line
from unlearn.stages.rows.forget_list import LEFT_OUT
from unlearn.stages.rows.tokens import DEMO_KEY, KEY_VARIABLE, Key, Tokenizer, key_of_text

from tests.cli.conftest import IDS, PEOPLE, refused, run_all, unchanged
from tests.conftest import Repo, fresh_models, key_of, places, token_of, use_key, without_log


def rekey(repo: Repo, *options: str) -> dict[str, object]:
    done = repo.inline("rekey", "--yes", "--json", *options)
    assert done.code == 0, done.err
    return done.json


def listed(repo: Repo) -> list[str]:
    return (repo.root / "data/forget_list.txt").read_text(encoding="ascii").split()


def present(repo: Repo) -> set[str]:
    """Return the lines of the list as memory has them."""
    epochs = FIRST.with_key(key_of(repo))
    return {epochs.present(line) or "" for line in listed(repo)}


def test_the_cost_is_said_first_and_asked_for(done: Repo) -> None:
    with unchanged(done.root):
        asked = done.inline("rekey")
        assert asked.code == 2
        assert "every row moves to another place" in asked.err
        assert "nothing was changed" in asked.err
        shown = done.inline("rekey", "--dry-run", "--json").json
    assert (shown["epoch"], shown["new_key"], shown["dry_run"]) == (2, True, True)
    assert {"shard", "train@s000", "verify"} <= set(shown["stages"])
    assert shown["seconds"] is not None


@pytest.mark.slow
def test_lines_go_forward_entries_stay_and_old_rows_stay_forgotten(
    done: Repo, tmp_path: Path
) -> None:
    done.forget(IDS[:2], "--ticket", "T-1")
    run_all(done)
    done.forget(IDS[2:3], "--ticket", "T-2")
    done.commit("request")
    entries = done.files("data/requests")
    old = key_of(done)

    answer = rekey(done)

    assert (answer["epoch"], answer["lines"], answer["key"]) == (2, 3, "unlearn.key")
    key = key_of(done)
    assert (key.epoch, key.older) == (2, (old.text,))
    assert (done.root / "unlearn.key").stat().st_mode & 0o777 == 0o600
    assert done.params()["key_check"] == key.check
    assert all(line.startswith("u2_") for line in listed(done))
    assert present(done) == {token_of(done, raw) for raw in IDS[:3]}
    after = done.files("data/requests")
    assert entries.items() <= after.items()
    assert len(after) == len(entries) + 1
    holds_key = [name for name, text in done.snapshot().items() if key.text.encode() in text]
    assert holds_key == ["unlearn.key"]

    done.commit("rotation")
    run_all(done)
    assert done.files("models") == fresh_models(done, tmp_path / "room", IDS[:3])
    status = done.inline("status", "--json").json
    assert [state["ticket"] for state in status["request_states"]] == ["T-1", "T-2"]
    assert [state["state"] for state in status["request_states"]] == ["verified", "verified"]
    assert (status["lost"], status["not_merged"], status["notes"]) == (0, 0, [])
    assert done.inline("verify").code == 0

    audit = done.inline("audit", "HEAD~2..HEAD", "--json")
    assert audit.code == 0, audit.out
    assert audit.json["forgotten"] == 1  # T-2, which the older state had not applied
    reasons = set(map(tuple, audit.json["reasons"].values()))
    assert reasons <= {("the key was rotated",), ("1 new line", "the key was rotated")}
    assert len(audit.json["retrained"]) == 3
    assert any("rotated, from epoch 1 to 2" in note for note in audit.json["notes"])
    # Without the key, by the log alone.
    (done.root / "unlearn.key").rename(tmp_path / "kept.key")
    without = done.inline("audit", "HEAD~2..HEAD", "--json")
    assert without.json == audit.json
    assert done.inline("audit", "HEAD~4..HEAD~3").code == 0
    status = done.inline("status", "--json").json
    assert (status["lost"], status["applied"], status["by_hand"]) == (0, 3, 0)


def test_records_of_persons_and_their_lines_in_every_form(people: Repo) -> None:
    person, other = PEOPLE["person"].iloc[0], PEOPLE["person"].iloc[1]
    assert person != other
    records = PEOPLE.loc[PEOPLE["person"] == other, "id"].tolist()
    listed_file = people.root / "data/forget_list.txt"
    listed_file.write_text(f"subject:{person}\n{records[0]}\n", encoding="utf-8")
    people.commit("by hand, so that git has raw ids")

    rekey(people)

    pair = f"{token_of(people, other, 'subject')}.{token_of(people, records[0])}"
    assert present(people) == {token_of(people, person, "subject"), pair}
    people.commit("rotation")
    people.stages("shard", "forget")
    kept = set(people.files("data/retain_set"))
    assert kept
    status = people.inline("status", "--json").json
    assert (status["lost"], status["by_hand"], status["notes"]) == (0, 0, [])
    # Whoever has neither key nor rows still sees that nothing was lost.
    (people.root / "unlearn.key").unlink()
    status = people.inline("status", "--json").json
    assert (status["lost"], status["by_hand"]) == (0, 0)


@pytest.mark.slow
def test_a_line_that_leaves_the_list_after_the_rotation_is_missed(done: Repo) -> None:
    done.forget(IDS[:1], "--ticket", "T-1")
    done.commit("first request")
    first = done.git("rev-parse", "HEAD").strip()
    done.forget(IDS[1:2], "--ticket", "T-2")
    done.commit("second request")
    rekey(done)
    done.commit("rotation")

    # The list and the log as the older commit had them: as a careless conflict would leave them.
    done.git("checkout", "--quiet", first, "--", "data/forget_list.txt", "data/requests")
    done.git("commit", "--quiet", "-m", "went wrong")
    assert "1 line left the forget list" in refused(done.inline("repro"))
    assert "1 line left the forget list" in refused(done.inline("rekey", "--yes"))
    lost = done.inline("status", "--json").json
    assert lost["lost"] == 1
    assert done.inline("forget", "--lost").code == 0
    assert present(done) == {token_of(done, raw) for raw in IDS[:2]}


@pytest.mark.slow
def test_a_revert_of_an_old_request_is_caught(done: Repo) -> None:
    done.forget(IDS[:1])
    done.commit("request")
    rekey(done)
    done.commit("rotation")
    lines = listed(done)

    done.git("revert", "--no-edit", "HEAD~1")
    # Git keeps the line, which was rewritten, and takes the entry of the log away.
    assert listed(done) == lines
    assert "1 entry of the request log left" in done.inline("status").out
    assert done.inline("forget", "--lost").code == 0
    assert done.inline("status", "--json").json["notes"] == []

    # Whoever takes the older list, as in a conflict, loses the line.
    done.git("checkout", "--quiet", "HEAD~3", "--", "data/forget_list.txt")
    done.commit("the older list")
    assert listed(done) == []
    assert "1 line left the forget list" in refused(done.inline("repro"))


def test_a_revert_of_the_rotation_stops_every_run(done: Repo) -> None:
    done.forget(IDS[:1])
    done.commit("request")
    rekey(done)
    done.commit("rotation")
    done.forget(IDS[1:2])
    done.commit("request with the new key")
    done.git("revert", "--no-edit", "HEAD~1")

    message = refused(done.inline("repro"))
    assert "token of a later key" in message or "left the forget list" in message
    assert done.inline("status").code in (0, 2)


@pytest.mark.slow
def test_a_commit_from_before_the_rotation_still_works(done: Repo) -> None:
    done.forget(IDS[:1])
    run_all(done)
    rekey(done)
    done.commit("rotation")
    done.git("branch", "--quiet", "-M", "other")
    done.git("checkout", "--quiet", "--detach", "HEAD~1")

    status = done.inline("status", "--json").json
    assert (status["lost"], status["pending"], status["verified"]) == (0, 0, True)


@pytest.mark.slow
def test_a_branch_from_before_the_rotation_is_merged(done: Repo, tmp_path: Path) -> None:
    main = done.git("branch", "--show-current").strip()
    done.forget(IDS[:1], "--ticket", "T-1")
    done.commit("request")
    done.git("checkout", "--quiet", "-b", "request")
    done.forget(IDS[1:2], "--ticket", "T-2")
    done.commit("request on a branch")
    done.git("checkout", "--quiet", main)
    rekey(done)
    done.commit("rotation")
    assert done.inline("status", "--json").json["not_merged"] == 1
    done.git("merge", "--quiet", "--no-edit", "request")

    assert {line[:3] for line in listed(done)} == {"u1_", "u2_"}
    planned = done.inline("plan", "--json")
    assert planned.code == 0, planned.err
    states = done.inline("status", "--json").json["request_states"]
    assert [(one["ticket"], one["count"], one["state"]) for one in states] == [
        ("T-1", 1, "pending"),
        ("T-2", 1, "pending"),
    ]
    assert done.inline("forget", "--id", IDS[2]).code == 0
    assert {line[:3] for line in listed(done)} == {"u2_"}
    assert present(done) == {token_of(done, raw) for raw in IDS[:3]}
    done.commit("settled")
    run_all(done)
    assert done.files("models") == fresh_models(done, tmp_path / "room", IDS[:3])
    # A clone without the key knows the line too: the log says what became of it.
    (done.root / "unlearn.key").unlink()
    status = done.inline("status", "--json").json
    assert (status["lost"], status["not_merged"], status["by_hand"]) == (0, 0, 0)
    assert [one["state"] for one in status["request_states"]] == ["verified"] * 3


@pytest.mark.slow
def test_old_requests_are_taken_back_extended_and_asked_again(done: Repo) -> None:
    done.forget(IDS[:1], "--ticket", "T-1", "--regime", "gdpr")
    done.forget(IDS[1:3], "--ticket", "T-2")
    done.forget(IDS[3:4], "--ticket", "T-3")
    assert done.inline("restore", "--ticket", "T-3", "--yes").code == 0
    done.commit("requests")
    rekey(done)

    with unchanged(done.root):
        assert done.inline("forget", "--id", IDS[1], "--ticket", "T-2").code == 0
    assert done.inline("forget", "--extend", "--ticket", "T-1").code == 0
    assert done.inline("restore", "--ticket", "T-2", "--yes", "--json").json["removed"] == 2
    assert done.inline("restore", "--id", IDS[0], "--yes", "--json").json["removed"] == 1
    assert listed(done) == []
    done.commit("taken back")
    states = done.inline("status", "--json").json["request_states"]
    assert [one["state"] for one in states] == ["restored"] * 3
    assert (states[0]["extended"], states[1]["count"]) == (True, 2)
    # Who asks again is forgotten again.
    done.forget(IDS[3:4], "--ticket", "T-4")
    assert present(done) == {token_of(done, IDS[3])}
    assert done.inline("status", "--json").json["lost"] == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (lambda key: [key.text], "unlearn.key holds 1 of the 2 keys of this project"),
        (lambda key: [key.older[0]], "unlearn.key holds 1 of the 2 keys of this project"),
        (lambda key: ["a" * 64, key.text], "unlearn.key is not the key of this project"),
        (lambda key: [key.older[0], "b" * 64], "unlearn.key is not the key of this project"),
        (lambda key: [key.text, key.older[0]], "unlearn.key is not the key of this project"),
        (lambda key: [key.older[0], "nonsense"], "unlearn.key is not 64 lower-case"),
        (lambda _: [], "unlearn.key is not 64 lower-case"),
    ],
)
def test_a_wrong_or_missing_old_key_stops_every_command(
    done: Repo, keys: Callable[[Key], list[str]], message: str
) -> None:
    done.forget(IDS[:1])
    rekey(done)
    found = keys(key_of(done))
    (done.root / "unlearn.key").write_text("\n".join([*found, ""]), encoding="ascii")
    with unchanged(done.root):
        for command in ("plan", "repro", "status", "forget --id r0005", "restore --id r0001 --yes"):
            assert refused(done.inline(*command.split())).startswith(message), command
        for stage in ("shard", "forget", "train@s000", "verify"):
            assert refused(done.inline("stage", stage)).startswith(message)
        assert refused(done.inline("rekey", "--yes")).startswith(message)


def test_keys_of_the_environment(done: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    done.forget(IDS[:1])
    old = key_of(done)
    (done.root / "unlearn.key").unlink()
    monkeypatch.setenv(KEY_VARIABLE, old.text)
    with unchanged(done.root):
        assert refused(done.inline("rekey", "--yes")).startswith(
            "UNLEARN_KEY holds no key after that of the project"
        )
    new = "c" * 64
    monkeypatch.setenv(KEY_VARIABLE, f"{old.text}:{new}")
    answer = rekey(done)
    assert (answer["key"], answer["new_key"], answer["epoch"]) == ("UNLEARN_KEY", False, 2)
    assert not (done.root / "unlearn.key").exists()
    assert done.params()["key_check"] == Key(new, (old.text,)).check
    assert done.inline("plan").code == 0
    # Three at last, with other white space.
    monkeypatch.setenv(KEY_VARIABLE, f" {old.text}\n{new} {'d' * 64}\n")
    assert rekey(done)["epoch"] == 3
    tokenizer = Tokenizer(Key("d" * 64, (old.text, new)))
    assert listed(done) == ["u3_" + tokenizer.token("record", IDS[0]).removeprefix("u1_")]


def test_the_published_key_gives_way_to_a_secret_one(done: Repo) -> None:
    use_key(done, DEMO_KEY)
    (done.root / "unlearn.key").unlink()
    rekey(done)
    key = key_of(done)
    assert (key.older, key.is_demo) == ((DEMO_KEY,), False)
    assert done.inline("plan").code == 0


@pytest.mark.slow
def test_a_suppressed_person_stays_suppressed(done: Repo, tmp_path: Path) -> None:
    done.forget(["nobody"], "--suppress")
    done.forget(IDS[:1])
    run_all(done)
    rekey(done)
    done.commit("rotation")
    path = done.root / done.params()["dataset"]["path"]
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.splitlines()[1].replace("r0000", "nobody") + "\n", encoding="utf-8")
    run_all(done)

    assert done.files("models") == fresh_models(done, tmp_path / "room", [IDS[0], "nobody"])
    assert done.inline("verify").code == 0


def test_other_coins_are_tossed_for_canaries(done: Repo) -> None:
    assert done.inline("canary", "--count", "16").code == 0
    canaries = pd.read_csv(done.root / "data/canaries.csv", dtype=str)["id"].tolist()
    done.forget(canaries, "--ticket", "T-1")
    done.commit("request")

    rekey(done)

    key = key_of(done)
    bare = {line.removesuffix(LEFT_OUT): line for line in listed(done)}
    assert len(bare) == 16
    for raw in canaries:
        token = token_of(done, raw)
        line = bare["u2_" + token.removeprefix("u1_")]
        assert line.endswith(LEFT_OUT) is not coin(key, token)
    assert done.inline("restore", "--ticket", "T-1", "--yes", "--json").json["removed"] == 16


def test_the_anchor_names_the_rotation(
    done: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor = tmp_path / "anchor"
    monkeypatch.setenv("UNLEARN_LEDGER", str(anchor))
    done.forget(IDS[:1])
    before = set(done.files("data/requests"))
    rekey(done)
    (name,) = set(done.files("data/requests")) - before
    assert f"{name}\n" == anchor.read_text(encoding="ascii").strip() + ".json\n"
    assert done.inline("status").code == 0


def test_two_rotations_to_different_keys_do_not_mix(done: Repo, tmp_path: Path) -> None:
    done.forget(IDS[:1])
    done.commit("request")
    other = done.copy(tmp_path / "other")
    rekey(done)
    rekey(other)
    entries = set(other.files("data/requests")) - set(done.files("data/requests"))
    for name in entries:
        shutil.copy(other.root / "data/requests" / name, done.root / "data/requests" / name)
    assert "two rotations of the key to epoch 2" in refused(done.inline("status"))
    assert "two rotations of the key to epoch 2" in refused(done.inline("repro"))


@pytest.mark.slow
def test_a_rotation_that_was_killed_anywhere_stands_or_is_finished(
    done: Repo, tmp_path: Path
) -> None:
    done.forget(IDS[:2])
    done.forget(["nobody"], "--suppress")
    done.commit("request")
    with (done.root / "unlearn.key").open("a", encoding="ascii") as keys:
        keys.write("e" * 64 + "\n")
    whole = done.copy(tmp_path / "whole")
    rekey(whole)
    expected = without_log_of(whole)
    before = without_log_of(done)
    states = set()
    for number in itertools.count():
        repo = done.copy_files(tmp_path / "killed")
        with killed_at(number) as count:
            ended = repo.inline("rekey", "--yes")
        if count() <= number:
            assert ended.code == 0
            break
        if (repo.root / ".unlearn/rekey.json").exists():
            commands = ["status"]
            if "begun" not in states:
                commands += ["repro", "verify", "stage shard", "forget --id r0009"]
            states.add("begun")
            for command in commands:
                message = refused(repo.inline(*command.split()))
                assert message == "a rotation of the project key was interrupted"
            assert refused(repo.inline("rekey", "--dry-run")) == message
            answer = repo.inline("rekey", "--json").json  # it asks no more
            assert (answer["resumed"], answer["epoch"], answer["lines"]) == (True, 2, 3)
        else:
            states.add("not begun")
            assert without_log_of(repo) == before
            rekey(repo)
        assert without_log_of(repo) == expected
        assert not (repo.root / ".unlearn/rekey.json").exists()
    assert states == {"begun", "not begun"}
    assert number > 5


def without_log_of(repo: Repo) -> dict[str, bytes]:
    """Return all files but entries of the log, which name the time."""
    files = repo.snapshot()
    return {name: files[name] for name in without_log(files)}


@contextmanager
def killed_at(number: int) -> Iterator[Callable[[], int]]:
    """End the process, as it were, before one of its file operations."""
    real: dict[str, Callable[..., Any]] = {"replace": os.replace, "unlink": Path.unlink}
    seen = 0

    def before(name: str) -> Callable[..., Any]:
        def operation(*arguments: Any, **more: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen > number:
                raise KeyboardInterrupt
            return real[name](*arguments, **more)

        return operation

    with (
        mock.patch("os.replace", before("replace")),
        mock.patch.object(Path, "unlink", before("unlink")),
    ):
        yield lambda: seen


def test_what_changed_after_a_kill_is_not_overwritten(done: Repo) -> None:
    done.forget(IDS[:1])
    with mock.patch("unlearn.stages.requests.rekey._write", side_effect=KeyboardInterrupt):
        done.inline("rekey", "--yes")
    path = done.root / "data/forget_list.txt"
    kept = path.read_bytes()
    path.write_bytes(kept + b"r0044\n")
    assert refused(done.inline("rekey")).startswith("data/forget_list.txt was changed after")
    path.write_bytes(kept)
    keys = (done.root / "unlearn.key").read_text(encoding="ascii")
    (done.root / "unlearn.key").write_text(keys.splitlines()[0] + "\n", encoding="ascii")
    assert "1 of the 2 keys" in refused(done.inline("rekey"))
    (done.root / "unlearn.key").write_text(keys, encoding="ascii")
    assert done.inline("rekey").code == 0
    assert present(done) == {token_of(done, IDS[0])}


def test_a_journal_that_was_cut_short_is_no_rotation(done: Repo) -> None:
    (done.root / ".unlearn").mkdir(exist_ok=True)
    (done.root / ".unlearn/rekey.json").write_text('{"epoch": 2', encoding="ascii")
    with mock.patch("unlearn.cli.rekey.rotate", side_effect=KeyboardInterrupt):
        done.inline("rekey", "--yes")
    assert not (done.root / ".unlearn/rekey.json").exists()
    assert done.inline("status").code == 0


def test_an_imported_original_keeps_its_rows(compared: Repo) -> None:
    weights = compared.root / "models/original"
    (weights / "import.json").write_text('{"honours": []}', encoding="ascii")
    with unchanged(compared.root):
        message = refused(compared.inline("rekey", "--yes"))
    assert message.startswith("the original was imported")


def test_a_line_of_params_that_cannot_be_changed_is_refused(done: Repo) -> None:
    path = done.root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("key_check:", '"key_check":'), encoding="utf-8")
    with unchanged(done.root):
        assert refused(done.inline("rekey", "--yes")).startswith("params.yaml: key_check is not")


@pytest.mark.slow
def test_a_project_may_begin_with_several_keys(fresh: Repo) -> None:
    use_key(fresh, "a" * 64)
    (fresh.root / "unlearn.key").write_text(f"{'a' * 64}\n{'b' * 64}\n", encoding="ascii")
    fresh.set_params(key_check=Key("b" * 64, ("a" * 64,)).check)
    fresh.forget(IDS[:1], "--ticket", "T-1")
    fresh.commit("request")
    run_all(fresh)
    assert [line[:3] for line in listed(fresh)] == ["u2_"]
    assert fresh.inline("verify").code == 0
    assert fresh.inline("status", "--json").json["request_states"][0]["state"] == "verified"
    assert fresh.inline("restore", "--ticket", "T-1", "--yes").code == 0


def test_an_old_project_keeps_its_tokens_and_its_check(done: Repo) -> None:
    done.forget(IDS[:1])
    key = key_of(done)
    assert listed(done) == [Tokenizer(key).token("record", IDS[0])]
    assert all(is_token_line(line) and line.startswith("u1_") for line in listed(done))
    assert key_of_text(f"{key.text}\n") == key


def test_copies_from_before_the_rotation_are_found(done: Repo, tmp_path: Path) -> None:
    raw = next(raw for raw, place in places(done).items() if not place.is_holdout)
    shard = done.root / "data/shards" / f"{places(done)[raw].shard}.parquet"
    shutil.copy(shard, tmp_path / "old.parquet")
    done.forget([raw])
    rekey(done)
    project = Project(done.root)
    context = open_project(project)

    search = Search(context, context.read_list())
    (tmp_path / "scratch").mkdir()
    assert search.object_holds(tmp_path / "old.parquet", tmp_path / "scratch") is True
    other = next(
        done.root / f"data/shards/{name}.parquet"
        for name in ("s000", "s001", "s002")
        if f"{name}.parquet" != shard.name
    )
    assert search.object_holds(other, tmp_path / "scratch") is False
    scanned = done.inline("scan", "--json")
    assert scanned.code == 1
    assert "data/shards/" + shard.name in scanned.out


def test_an_erasure_that_was_interrupted_goes_first(done: Repo) -> None:
    journal = Project(done.root).erasure_journal
    journal.parent.mkdir(exist_ok=True)
    journal.write_text("{}", encoding="ascii")
    message = refused(done.inline("rekey", "--yes"))
    assert message == "an erasure was interrupted"
    assert key_of(done).epoch == 1


def test_an_erasure_after_a_rotation_suppresses_the_lines_of_before(done: Repo) -> None:
    done.forget(IDS[:2], "--ticket", "T-1")
    rekey(done)
    context = open_project(Project(done.root))
    start = read_start(context)

    suppress_rows(context.project, start.heads)

    assert read_suppressed(context.project) == {token_of(done, raw) for raw in IDS[:2]}
