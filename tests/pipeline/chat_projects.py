"""Projects of chats with real DVC: twelve people, two chats of each, in JSONL and Parquet."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from unlearn.stages.rows.tokens import place

from tests.chat_templates import chat
from tests.conftest import Repo, start_repositories, token_of, use_key

KEY = "5c" * 32
NAMED = ("--id", "id", "--subject", "person")
SHARDS = ["s000", "s001"]
PEOPLE = 12


def secret(number: int) -> str:
    """Return what only the chat of this number says."""
    return f"a secret about {number:05d}"


def rows() -> list[dict[str, Any]]:
    """Return the rows of all people."""
    return [
        {
            "id": f"r{number:02d}",
            "person": f"p{number // 2:02d}",
            "messages": chat("hello", secret(number), "and you?", "I am fine."),
        }
        for number in range(2 * PEOPLE)
    ]


def secrets_of(person: str) -> list[str]:
    """Return what only the chats of a person say."""
    number = int(person.removeprefix("p"))
    return [secret(2 * number), secret(2 * number + 1)]


def write_parquet(path: Path, some: list[dict[str, Any]]) -> None:
    """Write rows to a file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(some), path)


def make_chat_project(root: Path, base: Path, *options: str) -> Repo:
    """Return a project on chats in a folder of a JSONL and a Parquet file, which has never run."""
    source = root.parent / f"{root.name}-source"
    write_parquet(source / "a.parquet", rows()[:PEOPLE])
    lines = "".join(f"{json.dumps(row)}\n" for row in rows()[PEOPLE:])
    (source / "b.jsonl").write_text(lines, encoding="utf-8")
    repo = start_repositories(root)
    shutil.copytree(base, root / "models/base")
    asked = ("--dataset", str(source), *NAMED, "--base", str(root / "models/base"), *options)
    done = repo.inline("init", ".", *asked)
    assert done.code == 0, done.err
    shutil.rmtree(source)
    use_key(repo, KEY)
    train = repo.params()["train"]
    settings = train["options"] | {"rank": 2, "alpha": 4.0}
    repo.set_params(train=train | {"epochs": 1, "batch": 8, "device": "cpu", "options": settings})
    repo.commit("start")
    return repo


def trained_people(repo: Repo) -> list[str]:
    """Return the people who are not held out, in order."""
    sharding = repo.params()["sharding"]
    shards, slices = len(sharding["shards"]), sharding["slices"]
    return [
        person
        for person in dict.fromkeys(str(row["person"]) for row in rows())
        if not place(
            token_of(repo, person, "subject"), shards, slices, sharding["holdout"]
        ).is_holdout
    ]
