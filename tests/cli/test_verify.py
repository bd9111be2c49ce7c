"""`unlearn verify`: what it shows of a report, and what it checks of seal, figures and models."""

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.seals import VERDICT, seal
from unlearn.stages.rows.tokens import Key

from tests.cli.conftest import IDS, refused, unchanged
from tests.conftest import Repo, places

MODELS = [*(f"models/shard_models/s00{number}" for number in range(3)), "models/final_model"]


def forget_and_run(repo: Repo, count: int = 1) -> None:
    """Forget records of one shard, run all stages, and commit."""
    where = places(repo)
    ids = [raw for raw in IDS if where[raw].shard == "s000"][:count]
    (repo.root / "ids.txt").write_text("\n".join(ids) + "\n", encoding="ascii")
    assert repo.inline("forget", "--ids", "ids.txt").code == 0
    (repo.root / "ids.txt").unlink()
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("forget")


def clone_of(repo: Repo, folder: Path) -> Repo:
    repo.git("clone", "--quiet", str(repo.root), str(folder))
    return Repo(folder)


def replace_in_lock(repo: Repo, name: str) -> None:
    """Let dvc.lock name a report as it is now: who can push can edit both."""
    path = repo.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text(encoding="utf-8"))
    content = (repo.root / name).read_bytes()
    for out in lock["stages"]["verify"]["outs"]:
        if out["path"] == name:
            out["md5"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
            out["size"] = len(content)
    path.write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def edit(repo: Repo, name: str, **changes: Any) -> None:
    """Change a report, and let dvc.lock name the result."""
    path = repo.root / name
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_bytes(json_bytes({**value, **changes}))
    replace_in_lock(repo, name)


def figures_in(value: Any) -> list[float]:
    """Return all numbers in a JSON value."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [n for item in value for n in figures_in(item)] if isinstance(value, list) else []


def test_where_everything_is_at_hand_everything_is_checked(done: Repo) -> None:
    answer = done.inline("verify", "--json")

    assert answer.code == 0, answer.out
    assert (answer.json["figures"], answer.json["seal_state"]) == (True, "valid")
    assert answer.json["models_found"] == {"same": sorted(MODELS), "different": [], "absent": []}
    assert answer.json["utility"] == done.report()["utility"]
    text = done.inline("verify").out
    assert "seal: that of the project key\nmodels: 4 of 4 are those in dvc.lock\n" in text


def test_shards_that_are_no_more_are_not_called_absent(done: Repo) -> None:
    """Their entries stay in dvc.lock, as DVC leaves them there."""
    shards = done.params()["sharding"]["shards"]
    done.set_params(sharding={"shards": shards[:-1]})
    shutil.rmtree(done.root / "models/shard_models" / shards[-1])

    found = done.inline("verify", "--json").json["models_found"]

    gone = f"models/shard_models/{shards[-1]}"
    assert gone in MODELS
    assert gone not in [name for names in found.values() for name in names]
    assert found["absent"] == []


@pytest.mark.slow
def test_a_clone_has_the_verdict_and_no_figure(done: Repo, tmp_path: Path) -> None:
    forget_and_run(done, count=12)
    accuracy = done.report()["utility"]["accuracy"]
    clone = clone_of(done, tmp_path / "clone")
    answer = clone.inline("verify", "--json")

    assert answer.code == 0, answer.out
    assert (answer.json["verdict"], answer.json["figures"]) == ("pass", False)
    assert answer.json["seal_state"] == "unchecked"
    assert answer.json["models_found"] == {"same": [], "different": [], "absent": sorted(MODELS)}
    assert answer.json["utility"]["accuracy"] is None
    text = clone.inline("verify").out
    assert "not on this machine; `dvc pull reports/verify.json` fetches them" in text
    assert "models: not checked" in text
    assert "seal: not checked" in text
    assert f"{accuracy:.3f}" not in text
    for command in (["status"], ["audit", "HEAD~1..HEAD", "--md"]):
        clone.inline(*command)
    assert not (clone.root / "reports/verify.json").exists()


@pytest.mark.slow
def test_the_public_verdict_has_no_number_but_counts_of_models(done: Repo) -> None:
    forget_and_run(done, count=12)
    verdict = json.loads((done.root / "reports/verdict.json").read_text(encoding="utf-8"))
    counts = verdict.pop("exactness")

    assert set(counts) == {"touched", "reran", "matched", "lineage_clean", "problems"}
    assert verdict.pop("schema_version") == 1
    assert figures_in(verdict) == []
    reasons = [*verdict["reasons"], *verdict["membership"]["reasons"]]
    assert reasons
    assert not any(re.search(r"\d", reason) for reason in reasons)


@pytest.mark.slow
def test_git_has_no_figure_in_any_commit(done: Repo) -> None:
    reports = [done.report()]
    for count in (12, 13):
        forget_and_run(done, count=count)
        reports.append(done.report())
    figures = {n for n in figures_in(reports) if isinstance(n, float) and n not in (0, 0.5, 1)}
    history = done.git("log", "--all", "--patch", "--no-renames", "--", ".", ":!data/dataset*")

    # How many more there are depends on the key; these are always among them.
    for report in reports:
        measured = {report["utility"][name] for name in ("accuracy", "log_loss")}
        assert measured - {0, 0.5, 1} <= figures
    assert len(figures) > len(reports)
    assert not [n for n in figures if re.search(rf"(?<!\d){re.escape(f'{n:.4f}')}", history)]


def test_figures_come_from_the_cache_of_dvc(done: Repo) -> None:
    utility = done.report()["utility"]
    (done.root / "reports/verify.json").unlink()
    answer = done.inline("verify", "--json")

    assert (answer.code, answer.json["figures"]) == (0, True)
    assert answer.json["utility"] == utility


@pytest.mark.slow
def test_figures_of_an_older_revision_are_compared(done: Repo, tmp_path: Path) -> None:
    before = done.report()["utility"]
    forget_and_run(done, count=12)
    after = done.report()["utility"]
    answer = done.inline("verify", "--before", "HEAD~1", "--json")

    assert answer.code == 0, answer.out
    assert answer.json["change"]["utility"]["log_loss"] == [before["log_loss"], after["log_loss"]]
    clone = clone_of(done, tmp_path / "clone")
    assert "the figures of HEAD~1 are not on this machine" in refused(
        clone.inline("verify", "--before", "HEAD~1")
    )
    assert "which --public leaves out" in refused(
        done.inline("verify", "--before", "HEAD~1", "--public")
    )


@pytest.mark.slow
def test_public_text_has_no_figure(done: Repo) -> None:
    forget_and_run(done, count=12)
    text = done.inline("verify", "--public").out

    assert "figures: left out (--public)" in text
    assert "accuracy" not in text
    assert not re.search(r"\d\.\d|\.\d\d", text), text


@pytest.mark.slow
@pytest.mark.parametrize("at_hand", [True, False])
def test_models_from_before_a_request_are_not_those_of_the_report(
    done: Repo, tmp_path: Path, *, at_hand: bool
) -> None:
    old = tmp_path / "models"
    shutil.copytree(done.root / "models", old)
    forget_and_run(done)
    assert done.inline("verify").code == 0
    shutil.copytree(old, done.root / "models", dirs_exist_ok=True)
    if not at_hand:
        (done.root / "unlearn.key").unlink()
    answer = done.inline("verify", "--json")

    assert (answer.code, answer.json["verdict"]) == (1, "stale")
    assert answer.json["models_found"]["different"] == ["models/final_model", MODELS[0]]
    assert f"stale: {MODELS[0]} is not the one in dvc.lock" in answer.json["reasons"]


def test_a_byte_that_changed_is_found_where_size_and_time_are_the_same(done: Repo) -> None:
    path = done.root / MODELS[1] / "model.skops"
    assert done.inline("verify").code == 0
    facts, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    answer = done.inline("verify", "--json")

    assert (answer.code, answer.json["models_found"]["different"]) == (1, [MODELS[1]])


@pytest.mark.slow
def test_only_full_reads_files_that_look_unchanged(done: Repo) -> None:
    time.sleep(2.1)  # what changed just now may change again, and is not kept
    assert done.inline("verify").code == 0
    digests = done.root / ".unlearn/digests.json"
    known = json.loads(digests.read_text(encoding="utf-8"))
    for entry in known["files"].values():
        entry[-1] = "0" * 32
    digests.write_text(json.dumps(known), encoding="utf-8")

    assert done.inline("verify").code == 1
    assert done.inline("verify", "--full").code == 0
    digests.write_text("{", encoding="utf-8")
    assert done.inline("verify").code == 0


def test_models_that_are_partly_here_are_named(done: Repo) -> None:
    shutil.rmtree(done.root / MODELS[0])
    answer = done.inline("verify")

    assert answer.code == 0, answer.out
    missing = f"not checked, not on this machine: {MODELS[0]}"
    assert f"models: 3 of 3 are those in dvc.lock; {missing}\n" in answer.out


def test_an_edited_verdict_is_found_by_its_seal_alone(done: Repo) -> None:
    edit(done, "reports/verdict.json", reasons=["trust me"])
    answer = done.inline("verify", "--json")

    assert (answer.code, answer.json["seal_state"]) == (1, "wrong")
    assert [reason.partition(":")[0] for reason in answer.json["reasons"]] == ["unsealed"]
    assert done.inline("status", "--json").json["verified"] is False
    (done.root / "unlearn.key").unlink()
    assert done.inline("verify", "--json").json["seal_state"] == "unchecked"


def test_a_verdict_without_a_seal_fails_with_or_without_the_key(done: Repo) -> None:
    edit(done, "reports/verdict.json", seal=None)
    assert done.inline("verify", "--json").json["seal_state"] == "missing"
    (done.root / "unlearn.key").unlink()
    answer = done.inline("verify")

    assert answer.code == 1
    assert "unsealed: reports/verdict.json has no seal" in answer.out


def test_the_seal_of_another_key_is_wrong(done: Repo) -> None:
    path = done.root / "reports/verdict.json"
    forged = seal(Key("ab" * 32), VERDICT, json.loads(path.read_text(encoding="utf-8")))
    edit(done, "reports/verdict.json", seal=forged)

    assert done.inline("verify", "--json").json["seal_state"] == "wrong"


def test_edited_figures_are_found_by_their_seal(done: Repo) -> None:
    utility = done.report()["utility"] | {"accuracy": 1.0}
    edit(done, "reports/verify.json", utility=utility)
    answer = done.inline("verify")

    assert answer.code == 1
    assert "unsealed: reports/verify.json was not made with the project key" in answer.out


@pytest.mark.slow
def test_figures_of_another_run_are_not_shown(done: Repo) -> None:
    older = (done.root / "reports/verify.json").read_bytes()
    forget_and_run(done)
    (done.root / "reports/verify.json").write_bytes(older)
    replace_in_lock(done, "reports/verify.json")
    answer = done.inline("verify", "--json")

    assert (answer.json["figures"], answer.json["utility"]["accuracy"]) == (False, None)


@pytest.mark.slow
def test_a_report_of_an_older_version_is_read_and_has_no_seal(done: Repo) -> None:
    path = done.root / "reports/verify.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    del old["seal"], old["reasons_in_words"]
    path.write_bytes(json_bytes(old))
    (done.root / "reports/verdict.json").unlink()
    lock = yaml.safe_load((done.root / "dvc.lock").read_text(encoding="utf-8"))
    outs = lock["stages"]["verify"]["outs"]
    outs[:] = [out for out in outs if out["path"] != "reports/verdict.json"]
    (done.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
    replace_in_lock(done, "reports/verify.json")
    done.git("add", "--force", "reports/verify.json")
    done.commit("as an older version left it")
    answer = done.inline("verify", "--json")

    assert (answer.code, answer.json["figures"]) == (1, True)
    assert [reason.partition(":")[0] for reason in answer.json["reasons"]] == ["unsealed"]
    assert done.inline("audit", "HEAD", "--json").json["unexplained"] == []
    done.git("rm", "--quiet", "--cached", "reports/verify.json")
    forget_and_run(done)
    change = done.inline("verify", "--before", "HEAD~1", "--json").json["change"]
    assert change["utility"]["accuracy"][0] == old["utility"]["accuracy"]


def test_params_and_dvc_yaml_have_to_agree_on_what_git_gets(done: Repo) -> None:
    done.set_params(verify={"publish": "figures"})
    with unchanged(done.root):
        said = refused(done.inline("repro"))
        assert "verify.publish is figures, but in dvc.yaml" in said
        assert "reports/verify.json" in said
        assert "reports/verdict.json" not in said
        refused(done.inline("stage", "verify"))


def test_figures_are_in_git_where_that_was_asked_for(done: Repo) -> None:
    done.set_params(verify={"publish": "figures"})
    path = done.root / "dvc.yaml"
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    for kind in ("outs", "metrics"):
        pipeline["stages"]["verify"][kind] = [
            {next(iter(out)) if isinstance(out, dict) else out: {"cache": False}}
            for out in pipeline["stages"]["verify"][kind]
        ]
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")
    assert "but .gitignore has /reports/?*" in refused(done.inline("repro"))
    ignored = done.root / ".gitignore"
    lines = ignored.read_text(encoding="utf-8").replace("/reports/?*\n", "")
    ignored.write_text(lines, encoding="utf-8")
    done.stages("verify")
    done.dvc("commit", "--force", "--quiet")
    done.commit("with figures")

    assert "reports/verify.json" in done.git("ls-files").splitlines()
    done.set_params(verify={"publish": "verdict"})
    assert "which puts it into git" in refused(done.inline("repro"))


def test_a_project_of_an_older_version_is_sent_to_upgrade(done: Repo) -> None:
    path = done.root / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    entry = "      - reports/verdict.json:\n          cache: false\n"
    path.write_text(text.replace(entry, ""), encoding="utf-8")
    answer = done.inline("repro")

    assert "does not list reports/verdict.json" in refused(answer)
    assert "`unlearn upgrade`" in answer.err


def test_a_model_that_no_stage_wrote_is_a_reason(done: Repo) -> None:
    assert done.inline("verify").code == 0
    (done.root / "models/old").mkdir()
    (done.root / "models/old/model.skops").write_bytes(b"")

    answer = done.inline("verify", "--json")

    assert (answer.code, answer.json["verdict"]) == (1, "stale")
    assert answer.json["reasons"] == [
        "stale: models/ holds 1 file that no stage wrote; `unlearn doctor` names them"
    ]
