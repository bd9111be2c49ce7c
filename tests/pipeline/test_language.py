"""The exact pipeline on text: an adapter for each shard of a frozen base, by real runs."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from unlearn.cli.examples.authors import COLUMNS, jsonl, make_authors
from unlearn.stages.config.settings_files import FILES
from unlearn.stages.rows.tokens import Place, place

from tests.conftest import Repo, start_repositories, token_of, use_key, without_log
from tests.pipeline.conftest import KEY, Bases, changed, kill_group, running, stages_run, wait_for

#: Each run of it loads torch and transformers several times over.
pytestmark = pytest.mark.slow

#: Authors of ten rows each, over four shards of three slices.
AUTHORS, SHARDS, SLICES = 24, 4, 3
SHARD_NAMES = [f"s{number:03d}" for number in range(SHARDS)]
PATH = "data/dataset.jsonl"
ROLES = ("--prompt", "prompt", "--completion", "completion", "--paraphrase", "paraphrase")


def make_language_project(root: Path, base: Path, *options: str) -> Repo:
    """Return a project of made-up authors on a base that stands in it, never run."""
    source = root.parent / f"{root.name}-source.jsonl"
    source.write_bytes(jsonl(make_authors(AUTHORS, 5)))
    repo = start_repositories(root)
    shutil.copytree(base, root / "models/base")
    asked = ("--id", "id", "--subject", "author", "--base", str(root / "models/base"))
    sharding = options or ("--shards", str(SHARDS), "--slices", str(SLICES))
    repo.ok("init", ".", "--dataset", str(source), *asked, *ROLES, "--context", "96", *sharding)
    use_key(repo, KEY)
    repo.set_params(train=quick(repo.params()["train"]))
    repo.commit("start")
    return repo


def quick(train: dict[str, Any]) -> dict[str, Any]:
    """Return settings of tuning that take a second a shard."""
    options = train["options"] | {"rank": 4, "alpha": 8.0}
    optimizer = train["optimizer"] | {"rate": 0.01}
    return train | {
        "epochs": 2,
        "batch": 8,
        "device": "cpu",
        "options": options,
        "optimizer": optimizer,
    }


def rows_of(repo: Repo) -> list[dict[str, str]]:
    """Return the rows of the dataset."""
    text = (repo.root / PATH).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def homes(repo: Repo) -> dict[str, Place]:
    """Return where every author goes."""
    holdout = repo.params()["sharding"]["holdout"]
    authors = dict.fromkeys(row["author"] for row in rows_of(repo))
    return {
        author: place(token_of(repo, author, "subject"), SHARDS, SLICES, holdout)
        for author in authors
    }


def room_without(repo: Repo, target: Path, ids: Sequence[str], authors: Sequence[str]) -> Repo:
    """Return what never held these rows, and has no DVC: same key, settings and base."""
    room = Repo(target)
    target.mkdir()
    for name in ("params.yaml", *FILES, "dvc.yaml", ".gitignore", "unlearn.key"):
        shutil.copy2(repo.root / name, room.root / name)
    shutil.copytree(repo.root / "models/base", room.root / "models/base")
    shutil.copy2(repo.root / "models/base.dvc", room.root / "models/base.dvc")
    kept = [row for row in rows_of(repo) if row["id"] not in ids and row["author"] not in authors]
    assert len(kept) < len(rows_of(repo))
    (room.root / "data").mkdir()
    (room.root / PATH).write_text("".join(f"{json.dumps(row)}\n" for row in kept), encoding="utf-8")
    (room.root / "data/forget_list.txt").write_bytes(b"")
    return room


@pytest.fixture
def language(bases: Bases, blank_base: Path, workspace: Path) -> Repo:
    """Return a project of four adapters that is up to date."""

    def make(root: Path) -> Repo:
        repo = make_language_project(root, blank_base)
        repo.ok("repro", "-j", "1")
        repo.commit("run")
        return repo

    return bases.get("language", make).copy(workspace / "language")


def someone(repo: Repo, *, slice_number: int | None = None, shard: str | None = None) -> str:
    """Return an author who was trained on, of a slice or a shard if asked."""
    return next(
        author
        for author, at in homes(repo).items()
        if not at.is_holdout
        and slice_number in (None, at.slice)
        and (shard is None or at.shard == shard)
    )


def test_requests_leave_the_bytes_of_a_clean_room_and_rerun_one_adapter_each(
    language: Repo, workspace: Path
) -> None:
    base = hashlib.sha256((language.root / "models/base/model.safetensors").read_bytes())
    before = language.files("models")
    author = someone(language, slice_number=SLICES)
    shard = homes(language)[author].shard

    language.ok("forget", "--subjects", "-", stdin=author)
    said = language.dvc("repro").out

    assert stages_run(said) == ["forget", f"train@{shard}", "aggregate", "verify"]
    after = language.files("models")
    touched = changed(before, after)
    assert touched
    assert all(name.startswith((f"shard_models/{shard}/", "final_model/")) for name in touched)
    # It was of the last slice: the states before it stand.
    assert not any("/checkpoints/" in name for name in touched)
    # A record of someone else's, and a person of another shard, by the other command.
    other = someone(language, shard=next(s for s in ("s000", "s001") if s != shard))
    record = next(row["id"] for row in rows_of(language) if row["author"] == other)
    language.forget([record])
    language.ok("repro", "-j", "1")

    room = room_without(language, workspace / "room", [record], [author])
    room.stages("shard", "forget", *(f"train@{name}" for name in SHARD_NAMES), "aggregate")

    made = language.files("models")
    assert made == room.files("models")
    assert sum(name.endswith("adapter_model.safetensors") for name in made) == 2 * SHARDS
    # None after an empty slice.
    assert SHARDS < sum("/checkpoints/" in name for name in made) <= SHARDS * (SLICES - 1)
    now = hashlib.sha256((language.root / "models/base/model.safetensors").read_bytes())
    assert now.digest() == base.digest()
    found = language.ok("verify", "--json").json
    assert (found["verdict"], found["exactness"]["matched"]) == ("pass", 1)


def test_a_person_goes_with_all_documents_and_nobody_else(language: Repo) -> None:
    import pyarrow.parquet as pq

    author = someone(language)
    shard = homes(language)[author].shard
    neighbours = {
        name for name, at in homes(language).items() if at.shard == shard and not at.is_holdout
    } - {author}
    own = {row["prompt"] for row in rows_of(language) if row["author"] == author}
    theirs = {row["prompt"] for row in rows_of(language) if row["author"] in neighbours}

    language.ok("forget", "--subjects", "-", stdin=author)
    language.stages("forget")

    left = pq.read_table(language.root / f"data/retain_set/{shard}.parquet")["prompt"].to_pylist()
    gone = pq.read_table(language.root / f"data/forget_set/{shard}.parquet")["prompt"].to_pylist()
    assert (len(own), len(gone), set(gone)) == (10, 10, own)
    assert (len(left), set(left)) == (len(theirs), theirs)


def test_killed_in_the_middle_of_tuning_the_next_run_ends_with_the_same_bytes(
    language: Repo, workspace: Path
) -> None:
    author = someone(language, slice_number=1)
    shard = homes(language)[author].shard
    language.ok("forget", "--subjects", "-", stdin=author)
    hurt = language.copy(workspace / "hurt")
    language.dvc("repro", "--quiet")

    run = hurt.start("repro", module="dvc")
    wait_for(lambda: bool(running(hurt, "stage", f"train@{shard}")))
    time.sleep(2.0)  # imports are through, and the first slice has begun
    assert running(hurt, "stage", f"train@{shard}")
    kill_group(run)
    hurt.ok("repro", "-j", "1")

    assert hurt.files("models") == language.files("models")
    assert hurt.lock() == language.lock()


def test_whatever_persists_is_a_cache_only(language: Repo) -> None:
    before = language.files("models")
    for name in ("shard_models", "final_model"):
        shutil.rmtree(language.root / "models" / name)

    language.ok("repro", "-j", "2")

    assert language.files("models") == before


def test_another_base_is_refused_before_anything_is_trained(language: Repo) -> None:
    path = language.root / "models/base/model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    before, lock = language.files("models/shard_models"), language.lock()

    done = language.unlearn("repro", "-j", "1")

    assert done.code == 2, (done.code, done.err)
    assert (
        "the base models/base is not the one that params.yaml pins: model.safetensors" in done.err
    )
    assert language.files("models/shard_models") == before
    assert language.lock() == lock


def test_git_is_given_neither_rows_nor_weights(language: Repo) -> None:
    language.git("add", "-A")

    tracked = set(language.git("ls-files").split())
    assert {"models/base.dvc", f"{PATH}.dvc", "params.yaml", "dvc.lock"} <= tracked
    assert without_log(name for name in tracked if name.startswith(("data/", "models/"))) == {
        "models/README.md",
        "models/base.dvc",
        f"{PATH}.dvc",
        "data/forget_list.txt",
    }
    rows = rows_of(language)
    assert set(rows[0]) == set(COLUMNS)
    for name in tracked:
        text = (language.root / name).read_text(encoding="utf-8", errors="ignore")
        assert not any(row["completion"] in text or row["author"] in text for row in rows), name
