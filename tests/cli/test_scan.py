"""`unlearn scan`: what was planted is found wherever it is, and nothing else."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PEOPLE, refused, run_all, unchanged
from tests.conftest import Repo

#: Nothing in a project has this text.
PLANTED = b"jane.roe@example.org"


def scan(repo: Repo, *options: str) -> tuple[int, dict[str, Any]]:
    done = repo.inline("scan", *options, "--json")
    assert PLANTED.decode() not in done.out + done.err
    return done.code, dict(done.json)


@pytest.fixture
def values(tmp_path: Path) -> str:
    path = tmp_path / "values.txt"
    path.write_bytes(PLANTED + b"\n")
    return str(path)


def places(answer: dict[str, Any], what: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in answer["findings"]:
        if finding["what"] == what:
            found.setdefault(finding["place"], set()).add(finding["file"])
    return found


def test_a_project_without_requests_is_clean(done: Repo, values: str) -> None:
    with unchanged(done.root):
        code, answer = scan(done, "--values", values)

    assert (code, answer["clean"], answer["findings"], answer["unread"]) == (0, True, [], [])
    assert min(answer["searched"].values()) >= 0
    assert answer["searched"]["the project"] > 20
    assert answer["searched"]["DVC's cache"] > 10
    assert answer["searched"]["git's objects"] > 10
    assert done.inline("scan").out.endswith("result: nothing was found\n")


@pytest.mark.slow
def test_rows_of_forgotten_records_are_found_by_their_ids_and_tokens(done: Repo) -> None:
    assert done.inline("forget", "--id", "r0001").code == 0
    run_all(done)

    code, answer = scan(done)
    assert code == 1
    rows = places(answer, "rows of forgotten records")
    dataset = done.params()["dataset"]["path"]
    # The list and the log are no finding: tokens belong there.
    assert {dataset, *(f"data/{name}" for name in _with_the_row(done))} == rows["the project"]
    assert len(rows["DVC's cache"]) >= 2
    assert "r0001" not in str(answer)
    shown = done.inline("scan")
    assert shown.code == 1
    assert f"found in the project, {dataset}: rows of forgotten records\n" in shown.out
    both = "rows of forgotten records, a token of the forget list"
    assert all(
        f"found in the project, data/{name}: {both}\n" in shown.out for name in _with_the_row(done)
    )
    files = {(finding["place"], finding["file"]) for finding in answer["findings"]}
    assert shown.out.endswith(f"result: something was found in {len(files)} files\n")

    tokens = places(answer, "a token of the forget list")
    assert tokens["the project"] == {f"data/{name}" for name in _with_the_row(done)}


def _with_the_row(repo: Repo) -> set[str]:
    """Return the shard files that hold the row of the forget list."""
    (forgotten,) = (repo.root / "data/forget_set").glob("*.parquet")
    return {f"forget_set/{forgotten.name}", f"shards/{forgotten.name}"}


@pytest.mark.slow
def test_other_rows_of_a_person_are_no_finding(people: Repo) -> None:
    """A request for one record of a person leaves the person's other rows."""
    counts = PEOPLE["person"].value_counts()
    record = PEOPLE.loc[PEOPLE["person"] == counts.index[0], "id"].iloc[0]
    assert counts.iloc[0] > 1
    assert people.inline("forget", "--id", record).code == 0
    run_all(people)

    _, answer = scan(people)
    tokens = places(answer, "a token of the forget list")["the project"]
    assert {name.partition("/")[2].partition("/")[0] for name in tokens} == {"forget_set", "shards"}


def test_what_cannot_be_read_is_not_counted_as_clean(done: Repo, tmp_path: Path) -> None:
    """A link to a folder elsewhere, and a blob of git that may be an older dataset."""
    assert done.inline("forget", "--id", "r0001").code == 0
    (done.root / "backups").symlink_to(tmp_path)
    (done.root / "old.csv").write_bytes(b"id,x0\nr0001,1\nr0002\n")
    blob = done.git("hash-object", "-w", "old.csv").strip()
    (done.root / "old.csv").unlink()

    _, answer = scan(done)
    unread = {(item["place"], item["file"]): item["why"] for item in answer["unread"]}
    assert unread["the project", "backups"].startswith("a link to a folder")
    assert unread["git's objects", f"blob {blob}"].startswith("it may be an older dataset")


def test_rows_are_found_by_their_ids_in_archives_and_git(done: Repo, tmp_path: Path) -> None:
    assert done.inline("forget", "--id", "r0001").code == 0
    old = (done.root / done.params()["dataset"]["path"]).read_bytes()
    with zipfile.ZipFile(tmp_path / "old.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/old.csv", old)
    blob = done.git("hash-object", "-w", done.params()["dataset"]["path"]).strip()

    _, answer = scan(done, str(tmp_path / "old.zip"))
    rows = places(answer, "rows of forgotten records")
    assert rows[str(tmp_path / "old.zip")] == {"old.zip/a/old.csv"}
    assert rows["git's objects"] == {f"blob {blob}"}


def test_a_planted_text_is_found_in_every_place(done: Repo, values: str, tmp_path: Path) -> None:
    backups, remote = tmp_path / "backups", tmp_path / "remote"
    done.dvc("remote", "add", "--default", "far", str(remote))
    done.dvc("push", "--quiet")
    (remote / "files" / "planted").write_bytes(gzip.compress(PLANTED))
    (done.root / ".dvc/cache/planted").write_bytes(PLANTED.hex().encode())
    (done.root / ".unlearn/planted").write_bytes(PLANTED)
    backups.mkdir()
    with zipfile.ZipFile(backups / "old.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", PLANTED)
    done.commit("remote")
    # On another branch, in a stash, and in a commit that no branch has any more.
    done.git("checkout", "--quiet", "-b", "other")
    (done.root / "note.txt").write_bytes(PLANTED + b" 1")
    done.commit("note")
    done.git("checkout", "--quiet", "-")
    (done.root / "stashed.txt").write_bytes(PLANTED + b" 2")
    done.git("stash", "push", "--quiet", "--include-untracked")
    (done.root / "lost.txt").write_bytes(PLANTED + b" 3")
    done.commit("lost")
    done.git("reset", "--quiet", "--hard", "HEAD~1")
    done.git("gc", "--quiet")
    (done.root / "loose.txt").write_bytes(PLANTED + b" 4")
    loose = done.git("hash-object", "-w", "loose.txt").strip()
    (done.root / "loose.txt").unlink()

    code, answer = scan(done, "--values", values, str(backups))

    assert code == 1
    found = places(answer, "the value of line 1")
    assert found["the project"] == {".unlearn/planted"}
    assert found["DVC's cache"] == {"planted"}
    assert found["the remote far"] == {"files/planted/content"}
    assert found[str(backups)] == {"old.zip/notes.txt"}
    assert len(found["git's objects"]) == 4
    assert f"blob {loose}" in found["git's objects"]
    forms = {finding["form"] for finding in answer["findings"]}
    assert forms == {"as it is", "hexadecimal"}


def test_what_cannot_be_opened_is_listed(done: Repo, values: str, tmp_path: Path) -> None:
    done.dvc("remote", "add", "bucket", "s3://nowhere/at-all")
    (tmp_path / "backup.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(50))

    code, answer = scan(done, "--values", values, str(tmp_path / "backup.7z"))
    assert (code, answer["clean"]) == (0, True)
    assert [(item["place"], item["file"]) for item in answer["unread"]] == [
        ("the remote bucket", None),
        (str(tmp_path / "backup.7z"), "backup.7z"),
    ]
    shown = done.inline("scan", str(tmp_path / "backup.7z")).out
    assert "not searched: the remote bucket: remotes of the kind s3 are not searched\n" in shown
    assert shown.endswith("result: nothing was found in what could be searched\n")


def test_what_is_refused(fresh: Repo, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("jane.roe@example.org\nab\n", encoding="ascii")
    assert refused(fresh.inline("scan", "--values", str(short))).startswith("short.txt, line 2: ")
    missing = str(tmp_path / "none")
    assert refused(fresh.inline("scan", missing)) == f"{missing} is not there"
    assert refused(fresh.inline("scan", "--values", missing)).startswith("none cannot be read")


def test_names_of_files_are_searched_for_values(done: Repo, values: str) -> None:
    path = done.root / "exports" / f"{PLANTED.decode()} (1).png"
    path.parent.mkdir()
    path.write_bytes(b"no picture")

    done_ = done.inline("scan", "--values", values, "--json")

    assert done_.code == 1
    found = [(item["place"], item["form"]) for item in done_.json["findings"]]
    assert found == [("the project", "its name")]
