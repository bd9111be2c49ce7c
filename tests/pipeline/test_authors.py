"""The example of made-up authors from beginning to end, as a user would run it."""

import json
import shutil
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from unlearn.cli.examples import tiny_base as tiny
from unlearn.cli.init import text
from unlearn.stages.rows.tokens import DEMO_KEY, Key, Place, Tokenizer, place

from tests.conftest import Repo, at_chance

pytestmark = pytest.mark.slow

#: The example has 40; docs/tutorials/language-models.md runs it as it is.
AUTHORS = 24


def start(folder: Path, base: Path, *options: str) -> Repo:
    """Return the example with fewer authors, never run, and a base that was made as its own is."""

    def take(target: Path, size: str, seed: int) -> None:
        assert (size, seed) == ("tiny", 1)
        shutil.copytree(base, target, dirs_exist_ok=True)

    fewer = partial(tiny.example_files, authors=AUTHORS)
    with (
        mock.patch.object(tiny, "make_base", take),
        mock.patch.object(text, "example_files", fewer),
    ):
        done = Repo(folder).inline("init", "authors", "--example", "authors", *options)
    assert done.code == 0, done.err
    repo = Repo(folder / "authors")
    repo.git("config", "user.email", "tests@example.org")
    repo.git("config", "user.name", "Tests")
    repo.dvc("config", "--local", "core.site_cache_dir", str(repo.root / ".dvc/tmp/site"))
    repo.commit("start")
    return repo


def homes(repo: Repo) -> dict[str, Place]:
    """Return where every author goes: the example's key is published."""
    sharding, tokens = repo.params()["sharding"], Tokenizer(Key(DEMO_KEY))
    lines = (repo.root / "data/authors.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        author: place(
            tokens.token("subject", author),
            len(sharding["shards"]),
            sharding["slices"],
            sharding["holdout"],
        )
        for author in dict.fromkeys(json.loads(line)["author"] for line in lines)
    }


@pytest.mark.trained
def test_authors_are_forgotten_exactly(workspace: Path, tiny_base: Path) -> None:
    repo = start(workspace, tiny_base)
    repo.ok("repro", "-j", "1")
    repo.commit("run")
    trained = {author: at.shard for author, at in homes(repo).items() if not at.is_holdout}
    asked = list(trained)[:3]

    repo.ok("forget", "--subjects", "-", stdin="\n".join(asked))
    said = repo.ok("repro", "-j", "1")

    found = repo.ok("verify", "--json").json
    assert (found["verdict"], found["label"]) == ("pass", "exact")
    assert found["exactness"]["touched"] == len({trained[author] for author in asked})
    assert f"trained {', '.join(sorted({trained[author] for author in asked}))} " in said.out
    assert "models/base, learned in its own pre-training is not covered" in found["covers"]
    # What stays is known by heart, which is what the attacks' power rests on.
    assert found["membership"]["attacks"]["lira"]["control"]["auc"] > 0.95
    assert at_chance(found["membership"]["attacks"]["lira"]["ci"])
    forgotten, unseen = (found["language"][rows] for rows in ("forgotten", "holdout"))
    assert forgotten["extraction_strength"] < unseen["extraction_strength"] + 0.1
    page = repo.ok("report")
    assert "verdict pass" in page.out


@pytest.mark.trained
def test_methods_are_held_against_retraining(workspace: Path, tiny_base: Path) -> None:
    repo = start(workspace, tiny_base, "--template", "posthoc")
    repo.set_params(unlearn={"methods": ["retrain", "finetune", "npo"]})
    trained = [author for author, at in homes(repo).items() if not at.is_holdout]
    repo.ok("forget", "--subjects", "-", stdin="\n".join(trained[:4]))

    repo.ok("repro")

    done = repo.unlearn("verify", "--json")
    found, methods = done.json, done.json["methods"]
    # Of an approximate method no more is said than what was found.
    assert done.code == (0 if found["verdict"] == "pass" else 1)
    assert {name for name, of in methods.items() if of["label"] == "exact"} == {"retrain", "young"}
    assert {of["label"] for of in methods.values()} == {"exact", "approximate"}
    assert methods["retrain"]["verdict"] == "pass"

    def known(name: str, rows: str, number: str = "extraction_strength") -> float:
        of = found["original"] if name == "original" else methods[name]
        return float(of["language"][rows][number])

    assert known("original", "forget") > 0.9
    assert known("retrain", "forget") < known("retrain", "holdout") + 0.1
    assert known("retrain", "forget") - 0.05 < known("npo", "forget") < known("original", "forget")
    probability = known("npo", "retain", "answer_probability")
    # The guard's probes are a sample of these rows.
    assert probability > known("original", "retain", "answer_probability") * (1 - 0.05 - 0.03)
    assert methods["npo"]["language"]["collapsed"] is False
    assert known("finetune", "forget") > known("npo", "forget")
