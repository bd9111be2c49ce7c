"""Two branches that each carry out a request: merged, one run settles what git could not."""

from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models
from tests.pipeline.conftest import FORGOTTEN, ids_at, run_repro


def _carry_out(repo: Repo, raw: str) -> None:
    repo.forget([raw])
    repo.ok("repro", "-j", "1")
    repo.commit("request")


@pytest.mark.slow
def test_after_a_merge_of_two_requests_one_run_settles_the_lock_and_the_reports(
    forgotten: Repo, workspace: Path
) -> None:
    main = forgotten.git("branch", "--show-current").strip()
    one, two = ids_at(forgotten, "s000")[0], ids_at(forgotten, "s002")[0]
    forgotten.git("checkout", "--quiet", "-b", "side")
    _carry_out(forgotten, one)
    forgotten.git("checkout", "--quiet", main)
    forgotten.dvc("checkout", "--quiet")
    _carry_out(forgotten, two)

    merge = forgotten.run("git", "merge", "--no-edit", "side")

    assert merge.code != 0
    conflicts = forgotten.git("diff", "--name-only", "--diff-filter=U").split()
    assert set(conflicts) == {"dvc.lock", "reports/verdict.json"}
    assert forgotten.inline("verify").code != 0
    done = forgotten.ok("repro", "-j", "1")
    assert "dvc.lock" in done.err
    forgotten.commit("merged")
    assert forgotten.files("models") == fresh_models(
        forgotten, workspace / "room", [*FORGOTTEN, one, two]
    )
    assert forgotten.ok("verify", "--json").json["verdict"] == "pass"
    assert forgotten.ok("status", "--json").json["pending"] == 0
    audit = forgotten.ok("audit", "HEAD^1..HEAD", "--json").json
    assert (audit["forgotten"], audit["retrained"]) == (1, ["train@s000"])


@pytest.mark.slow
@pytest.mark.parametrize("module", ["unlearn.cli", "dvc"])
def test_a_reverted_request_stops_the_run_and_trains_nobody_back_in(
    forgotten: Repo, module: str
) -> None:
    models = forgotten.files("models")
    head = forgotten.git("rev-parse", "HEAD").strip()
    listing = forgotten.git("log", "--format=%H", "--", "data/forget_list.txt").split()
    forgotten.git("revert", "--no-edit", listing[0])

    code, errors = run_repro(forgotten, module)

    assert code != 0
    if module == "unlearn.cli":
        assert code == 2
    assert "left the forget list" in errors
    assert forgotten.files("models") == models
    assert forgotten.inline("verify").code == 1
    status = forgotten.inline("status", "--json").json
    assert status["lost"] == len(FORGOTTEN)
    assert forgotten.inline("audit", f"{head}..HEAD").code == 1

    forgotten.inline("forget", "--lost")
    assert forgotten.ok("repro", "-j", "1").code == 0
    assert forgotten.files("models") == models


@pytest.mark.slow
def test_a_request_that_was_taken_back_is_trained_on_again(
    forgotten: Repo, workspace: Path
) -> None:
    raw = FORGOTTEN[0]
    assert forgotten.inline("restore", "--id", raw).code == 2
    done = forgotten.ok("restore", "--id", raw, "--reason", "W-1", "--yes")
    assert done.out.startswith("1 line left data/forget_list.txt")
    forgotten.ok("repro", "-j", "1")

    assert forgotten.files("models") == fresh_models(forgotten, workspace / "room", FORGOTTEN[1:])
    audit = forgotten.ok("audit", "--json").json
    assert audit["verdict"] == "consistent"
    assert list(audit["reasons"].values()) == [["1 line taken back"]]
