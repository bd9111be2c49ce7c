"""Chats with real DVC: requests leave the bytes of a clean room."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.config.settings_files import FILES
from unlearn.stages.rows.tokens import place

from tests.chat_templates import chat, make_chat_base
from tests.conftest import Repo, start_repositories, token_of, use_key

pytestmark = pytest.mark.slow

KEY = "5c" * 32
NAMED = ("--id", "id", "--subject", "person")
SHARDS = ["s000", "s001"]
GONE_TEXT = "a secret about"


def rows() -> list[dict[str, Any]]:
    """Return the rows of twelve people, two chats of each."""
    return [
        {
            "id": f"r{number:02d}",
            "person": f"p{number // 2:02d}",
            "messages": chat("hello", f"{GONE_TEXT} {number:05d}", "and you?", "I am fine."),
        }
        for number in range(24)
    ]


def write_parquet(path: Path, some: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(some), path)


def make_project(root: Path, base: Path) -> Repo:
    """Return a project on chats in a folder of a JSONL and a Parquet file, run once."""
    source = root.parent / "source"
    write_parquet(source / "a.parquet", rows()[:12])
    lines = "".join(f"{json.dumps(row)}\n" for row in rows()[12:])
    (source / "b.jsonl").write_text(lines, encoding="utf-8")
    repo = start_repositories(root)
    shutil.copytree(base, root / "models/base")
    asked = ("--base", str(root / "models/base"), "--shards", "2", "--slices", "1")
    repo.ok("init", ".", "--dataset", str(source), *NAMED, *asked)
    use_key(repo, KEY)
    train = repo.params()["train"]
    options = train["options"] | {"rank": 2, "alpha": 4.0}
    repo.set_params(train=train | {"epochs": 1, "batch": 8, "device": "cpu", "options": options})
    repo.commit("start")
    repo.ok("repro")
    repo.commit("run")
    return repo


def test_models_after_two_people_left_are_those_of_a_clean_room(tmp_path: Path) -> None:
    make_chat_base(tmp_path / "base")
    repo = make_project(tmp_path / "project", tmp_path / "base")
    holdout = repo.params()["sharding"]["holdout"]
    people = dict.fromkeys(str(row["person"]) for row in rows())
    trained = [
        person
        for person in people
        if not place(token_of(repo, person, "subject"), 2, 1, holdout).is_holdout
    ]
    gone = [trained[0], trained[-1]]  # one of either file
    for person in gone:
        repo.ok("forget", "--subjects", "-", stdin=person)
        repo.ok("repro")
        repo.commit(person)

    room = Repo(tmp_path / "room")
    room.root.mkdir()
    for name in ("params.yaml", *FILES, "dvc.yaml", ".gitignore", "unlearn.key"):
        shutil.copy2(repo.root / name, room.root / name)
    shutil.copytree(repo.root / "models/base", room.root / "models/base")
    kept = [row for row in rows() if row["person"] not in gone]
    # In one file and another format: a chat is the same row in all of them.
    write_parquet(room.root / "data/dataset/all.parquet", kept)
    (room.root / "data/forget_list.txt").write_bytes(b"")
    room.stages("shard", "forget", *(f"train@{name}" for name in SHARDS), "aggregate")
    made = repo.files("models")
    for name, content in room.files("models").items():
        assert made[name] == content, name
