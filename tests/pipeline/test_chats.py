"""Chats with real DVC: requests leave the bytes of a clean room."""

import shutil
from pathlib import Path

import pytest
from unlearn.stages.config.settings_files import FILES

from tests.conftest import Repo
from tests.pipeline.chat_projects import SHARDS, rows, trained_people, write_parquet

pytestmark = pytest.mark.slow


def test_models_after_two_people_left_are_those_of_a_clean_room(
    chats: Repo, tmp_path: Path
) -> None:
    trained = trained_people(chats)
    gone = [trained[0], trained[-1]]  # one of either file
    for person in gone:
        chats.ok("forget", "--subjects", "-", stdin=person)
        chats.ok("repro", "-j", "1")
        chats.commit(person)

    room = Repo(tmp_path / "room")
    room.root.mkdir()
    for name in ("params.yaml", *FILES, "dvc.yaml", ".gitignore", "unlearn.key"):
        shutil.copy2(chats.root / name, room.root / name)
    shutil.copytree(chats.root / "models/base", room.root / "models/base")
    kept = [row for row in rows() if row["person"] not in gone]
    # In one file and another format: a chat is the same row in all of them.
    write_parquet(room.root / "data/dataset/all.parquet", kept)
    (room.root / "data/forget_list.txt").write_bytes(b"")
    room.stages("shard", "forget", *(f"train@{name}" for name in SHARDS), "aggregate")
    made = chats.files("models")
    for name, content in room.files("models").items():
        assert made[name] == content, name
