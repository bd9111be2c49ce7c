"""`unlearn erase` on chats: of what a person said, and was told, no byte is left."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repo, readable
from tests.pipeline.chat_projects import rows, secrets_of, trained_people

#: Their project takes seconds to make.
pytestmark = pytest.mark.slow

FILES = {"data/dataset/a.parquet", "data/dataset/b.jsonl"}


def holding(repo: Repo, values: list[str]) -> set[str]:
    """Return the files of a project that have one of these values, and `git` if an object has."""
    wanted = [value.encode() for value in values]
    found = {
        path.relative_to(repo.root).as_posix()
        for path in repo.root.rglob("*")
        if path.is_file() and any(value in each for each in readable(path) for value in wanted)
    }
    command = ("git", "cat-file", "--batch-all-objects", "--batch")
    objects = subprocess.run(command, cwd=repo.root, check=True, capture_output=True).stdout
    return found | ({"git"} if any(value in objects for value in wanted) else set())


def pending(answer: dict[str, Any]) -> set[str]:
    return {place["name"] for place in answer["places"] if place["state"] == "pending"}


def test_no_chat_of_a_person_is_left(chats: Repo, workspace: Path) -> None:
    trained = trained_people(chats)
    people = [trained[0], trained[-1]]  # one of either file
    said = [text for person in people for text in secrets_of(person)]
    (workspace / "values.txt").write_text("\n".join(said), encoding="utf-8")
    scanning = ("scan", "--json", "--values", str(workspace / "values.txt"))
    asked = ("export", str(workspace / "whole"), "--as", "merged", "--public", "--json")
    name = chats.inline(*asked).json["name"]
    assert chats.inline("forget", "--subjects", "-", stdin="\n".join(people)).code == 0
    assert chats.inline("repro").code == 0
    chats.commit("request")
    # What somebody copied into the project.
    copy = next(row for row in rows() if row["person"] == people[0])
    (chats.root / "notes.jsonl").write_text(json.dumps(copy), encoding="utf-8")

    before = holding(chats, said)
    assert FILES | {"notes.jsonl"} <= before
    assert any(path.startswith(".dvc/cache") for path in before)
    found = chats.inline(*scanning)
    assert found.code == 1
    scanned = {item["file"] for item in found.json["findings"]}
    assert {path for path in before if not path.startswith(".dvc/")} <= scanned | {"git"}
    findings = chats.inline("doctor", "--json").json["findings"]
    (finding,) = (each for each in findings if each.startswith("the export"))
    assert name in finding
    assert str(workspace / "whole") in finding

    first = chats.inline("erase", "--yes", "--json")

    assert first.code == 1
    assert pending(first.json) == {f"the export {name} (merged)", "the project"}
    assert holding(chats, said) == {"notes.jsonl"}
    (chats.root / "notes.jsonl").unlink()
    shutil.rmtree(workspace / "whole")
    chats.commit("erased but for the copies")
    second = chats.inline("erase", "--yes", "--gone", name, "--json")

    assert second.code == 0, second.out + second.err
    assert pending(second.json) == set()
    chats.commit("erased")
    assert holding(chats, said) == set()
    assert holding(chats, secrets_of(trained[1]) + secrets_of(trained[-2])) >= FILES
    scan = chats.inline(*scanning)
    assert (scan.code, scan.json["findings"], scan.json["unread"]) == (0, [], [])
