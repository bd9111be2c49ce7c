"""`unlearn erase` on whole projects: no copy is left anywhere, and nothing else is lost."""

import json
from pathlib import Path

import pytest

from tests.conftest import Repo, readable
from tests.pipeline.conftest import Bases
from tests.pipeline.planted import (
    EVERYWHERE,
    GONE,
    RARE,
    REMOTES,
    copy_planted,
    default_branch,
    plant,
    stores,
)


@pytest.fixture
def planted(bases: Bases, workspace: Path) -> Repo:
    """Return a project with copies everywhere, and a request that was carried out."""
    return copy_planted(bases.get("planted", plant), workspace / "planted")


def holding(folder: Path, *values: str) -> set[str]:
    """Return the files below a folder that hold one of these values."""
    wanted = [value.encode() for value in values]
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and any(value in content for content in readable(path) for value in wanted)
    }


def values_file(repo: Repo, *values: str) -> str:
    """Write values for the scan to a file outside the project; return its path."""
    path = repo.root.parent / "values.txt"
    path.write_text("".join(f"{value}\n" for value in values), encoding="utf-8")
    return str(path)


def by_name(answer: dict[str, object]) -> dict[str, str]:
    places = answer["places"]
    assert isinstance(places, list)
    return {place["name"]: place["state"] for place in places}


@pytest.mark.slow
def test_no_copy_is_left_once_everything_is_named(planted: Repo) -> None:
    models = planted.files("models")
    others = [
        line
        for line in (planted.root / "data/dataset.csv").read_bytes().splitlines(keepends=True)
        if not line.startswith(tuple(f"{raw},".encode() for raw in GONE))
    ]
    before = planted.git("rev-parse", "HEAD").strip()
    assert all(holding(folder, *GONE, RARE) for folder in stores(planted))

    done = planted.unlearn("erase", "--yes", "--json", *EVERYWHERE)
    assert done.code == 0, done.out + done.err
    answer = done.json
    assert answer["complete"]
    assert answer["rows"] == {"data/dataset.csv": len(GONE)}
    assert answer["trained"] == []
    assert set(by_name(answer).values()) == {"purged"}
    planted.commit("erased")

    for folder in stores(planted):
        assert holding(folder, *GONE, RARE) == set()
    scan = planted.unlearn("scan", "--json", "--values", values_file(planted, *GONE, RARE))
    assert (scan.code, scan.json["findings"], scan.json["unread"]) == (0, [], [])
    assert planted.files("models") == models
    assert (planted.root / "data/dataset.csv").read_bytes() == b"".join(others)
    _check_what_stands(planted, before)
    _check_history(planted, models)


def _check_what_stands(repo: Repo, before: str) -> None:
    """The project is up to date, its evidence holds, and the request is known as erased."""
    assert repo.dvc("status").out.strip() == "Data and pipelines are up to date."
    assert repo.unlearn("verify").code == 0
    audit = repo.unlearn("audit", f"{before}..HEAD", "--rerun", "1", "--json")
    assert audit.code == 0, audit.out + audit.err
    (kept,) = (repo.root / "reports/evidence").iterdir()
    verdict = json.loads((kept / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "pass"
    assert (kept / "verify.json.dvc").is_file()


def _check_history(repo: Repo, models: dict[str, bytes]) -> None:
    """No commit, branch or stash can bring a row or an old model back."""
    default = default_branch(repo)
    for name in REMOTES:
        repo.run("dvc", "fetch", "--all-commits", "--run-cache", "--remote", name)
    for commit in repo.git("log", "--all", "--reflog", "--format=%H").split():
        repo.git("checkout", "--quiet", "--force", commit)
        repo.run("dvc", "checkout", "--force")
        for folder in ("data", "models"):
            assert holding(repo.root / folder, *GONE, RARE) == set(), commit
    repo.git("checkout", "--quiet", "--force", default)
    repo.dvc("checkout")
    assert repo.files("models") == models


@pytest.mark.slow
def test_what_others_use_stays_and_is_pending(planted: Repo) -> None:
    done = planted.unlearn("erase", "--yes", "--json")

    assert done.code == 1, done.err
    answer = done.json
    assert not answer["complete"]
    pending = {name for name, state in by_name(answer).items() if state == "pending"}
    assert {"the branch side", "the stash", "experiments of DVC"} <= pending
    # The new rows of others are still there, and nothing that only our history used.
    planted.commit("erased in part")
    default = default_branch(planted)
    for name, raw in (("side", "zqnew-side"), ("stash@{0}", "zqnew-stash")):
        planted.git("checkout", "--quiet", "--force", name)
        planted.dvc("checkout", "--force", "data/dataset.csv.dvc")
        assert holding(planted.root / "data", raw)
    planted.git("checkout", "--quiet", "--force", default)
    planted.dvc("checkout", "--force")

    again = planted.unlearn("erase", "--yes", "--json", *EVERYWHERE)
    assert again.code == 0, again.out + again.err
    for folder in stores(planted):
        assert holding(folder, *GONE, RARE) == set()


@pytest.mark.slow
def test_a_preview_changes_nothing_and_says_what_goes(planted: Repo) -> None:
    unnamed = [f"files/md5/ab/{number:030x}" for number in range(7)]
    for name in unnamed:
        path = planted.root / ".dvc/cache" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("no commit names it", encoding="utf-8")
    before = planted.snapshot() | {
        f"{folder}/{name}": b"" for folder in stores(planted) for name in planted.files(str(folder))
    }
    done = planted.unlearn("erase", "--dry-run", "--owned", *EVERYWHERE)

    assert done.code == 0, done.err
    assert f"{len(GONE)} rows would leave data/dataset.csv" in done.out
    assert f"\n  {unnamed[0]}\n" in done.out
    assert "\n  and 2 more: --json lists them all\n" in done.out
    answer = planted.unlearn("erase", "--dry-run", "--owned", "--json", *EVERYWHERE).json
    files = {place["name"]: place["files"] for place in answer["places"]}
    assert files.pop("DVC's cache") == unnamed
    assert not any(files.values())
    after = planted.snapshot() | {
        f"{folder}/{name}": b"" for folder in stores(planted) for name in planted.files(str(folder))
    }
    assert after == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("no request", "there is nothing to erase"),
        ("pending", "no report does for this forget list"),
        ("not committed", "is not committed"),
        ("another dataset", "is not the version that the models were trained on"),
        ("unknown branch", "there is no branch, tag or worktree"),
        ("unknown remote", "no older .dvc/config names a remote 'nowhere'"),
        ("no answer", "nothing was changed"),
    ],
)
def test_an_erasure_that_may_not_begin_changes_nothing(
    forgotten: Repo, spoil: str, message: str
) -> None:
    options = ["--yes"]
    match spoil:
        case "no request":
            forgotten.git("checkout", "--quiet", "HEAD~1")
            forgotten.dvc("checkout", "--quiet")
            forgotten.git("reflog", "expire", "--expire=now", "--all")
        case "pending":
            forgotten.forget(["r0050"])
            forgotten.commit("another request")
        case "not committed":
            (forgotten.root / "params.yaml").open("a").write("# later\n")
        case "another dataset":
            with (forgotten.root / "data/dataset.csv").open("a") as rows:
                rows.write("r9999,1.0,2.0,true,Rome,c1\n")
        case "unknown branch":
            options += ["--branch", "nowhere"]
        case "unknown remote":
            options += ["--gone", "nowhere"]
        case "no answer":
            options = []
    before = forgotten.snapshot()

    done = forgotten.inline("erase", *options)

    assert (done.code, forgotten.snapshot()) == (2, before), done.err
    assert message in done.err


@pytest.mark.slow
def test_a_project_without_shards_is_trained_again_on_what_is_left(posthoc_people: Repo) -> None:
    gone = ("r0005", "r0050")
    posthoc_people.forget(gone)
    posthoc_people.inline("repro")
    posthoc_people.commit("request")
    original = posthoc_people.files("models/original")
    retrained = posthoc_people.files("models/unlearned/retrain")
    old = holding(posthoc_people.root / ".dvc/cache", *gone)
    assert old

    done = posthoc_people.unlearn("erase", "--yes")

    assert done.code == 0, done.out + done.err
    assert "the original and the methods are trained again on what is left" in done.err
    # What `retrain` makes is what training without the rows makes, whatever becomes of them.
    assert posthoc_people.files("models/unlearned/retrain") == retrained
    assert posthoc_people.files("models/original") != original
    cached = set(posthoc_people.files(".dvc/cache").values())
    assert not cached & {content for content in original.values() if len(content) > 1_000}
    assert holding(posthoc_people.root / ".dvc/cache", *gone) == set()
    assert posthoc_people.inline("verify").code == 0
