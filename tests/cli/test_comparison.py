"""What a person sees of a project without shards: `unlearn verify` and `unlearn report`."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import METHODS, run_methods
from tests.conftest import Repo, places, token_of

#: What every method has in `verify --json`.
KEYS = {
    "label",
    "verdict",
    "reasons",
    "forget_accuracy",
    "retain_accuracy",
    "holdout_accuracy",
    "membership",
    "disagreement_with_retrain",
    "seconds",
    "stopped_by",
}


def page_of(repo: Repo) -> str:
    """Return the page of a project, its white space drawn together."""
    done = repo.inline("report")
    assert done.code == 0, done.err
    text = (repo.root / "reports/report.html").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", text)


def line_of(text: str, head: str, name: str) -> list[str]:
    """Return the cells of a method in the table whose head begins so."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.split()[:2] == head.split())
    line = next(line for line in lines[start + 1 :] if line.split()[:1] == [name])
    return re.split(r"  +", line.strip())


def deploy(repo: Repo, method: str) -> None:
    """Deploy another method's model."""
    repo.set_params(unlearn={"deploy": method})
    run_methods(repo, "aggregate", "verify")


def test_verify_has_a_table_of_all_methods(compared: Repo) -> None:
    done = compared.inline("verify")
    found = compared.report()

    assert done.code == 0, done.out
    lines = done.out.splitlines()
    assert lines[0] == "verdict: pass"
    assert "deployed: retrain, exact" in lines
    for name in ("young", *METHODS):
        entry = found["methods"][name]
        cells = line_of(done.out, "method label", name)
        assert cells[:3] == [name, entry["label"].partition("(")[0], entry["verdict"]]
        shown = [entry[f"{part}_accuracy"] for part in ("forget", "retain", "holdout")]
        assert cells[3:6] == ["-" if value is None else f"{value:.3f}" for value in shown]
    # The difference on matched pairs decides; the AUC against all unseen rows is further down.
    membership = found["methods"]["ssd"]["membership"]
    difference = membership["matched"]["difference"]["auc"]
    assert line_of(done.out, "method label", "ssd")[6] == f"{difference:+.3f}"
    assert f"{membership['auc']:.3f}" in line_of(done.out, "method matched", "ssd")
    assert line_of(done.out, "method disagreement", "retrain")[-1] == "trained"
    assert not any(line.split()[:2] == ["certified_removal", "-"] for line in lines), "no cost"


def test_verify_says_why_a_method_does_not_apply(compared: Repo) -> None:
    text = compared.inline("verify").out
    why = text.partition("  certified_removal: not applicable\n    ")[2]

    assert why.startswith("only `train.model: perturbed_logistic` has a certificate")


@pytest.mark.slow
def test_verify_says_that_the_model_was_retrained_and_nothing_of_shards(compared: Repo) -> None:
    text = compared.inline("verify").out

    assert "exactness: the deployed model was retrained: the same numbers, lineage clean\n" in text
    assert "shard" not in text
    compared.set_params(verify={"rerun": 0})
    run_methods(compared, "verify")
    assert (
        "exactness: the deployed model was not retrained as a check, lineage clean"
        in compared.inline("verify").out
    )


def test_json_has_every_method_with_its_seconds(compared: Repo) -> None:
    done = compared.inline("verify", "--json")
    timings = json.loads((compared.root / "reports/timings.json").read_text(encoding="utf-8"))

    assert done.json["methods"].keys() == {"young", *METHODS}
    for name, entry in done.json["methods"].items():
        assert entry.keys() >= KEYS, name
        assert entry["seconds"] == timings["seconds"][name]
    assert done.json["deploy"] == "retrain"


@pytest.mark.slow
def test_seconds_are_null_where_they_are_not_known(compared: Repo, tmp_path: Path) -> None:
    compared.git("clone", "--quiet", str(compared.root), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone")
    assert not (clone.root / "reports/timings.json").exists()
    words = clone.inline("verify").out
    assert "  ssd: " in words
    assert "disagreement" not in words
    shutil.copy(compared.root / "reports/verify.json", clone.root / "reports")
    done = clone.inline("verify", "--json")

    assert {entry["seconds"] for entry in done.json["methods"].values()} == {None}
    assert "disagreement" in clone.inline("verify").out
    page = page_of(clone)
    assert "Methods compared" in page
    assert "Times are not known." in page


@pytest.mark.slow
def test_an_approximate_model_is_never_shown_as_exact(compared: Repo) -> None:
    deploy(compared, "ssd")
    done = compared.inline("verify")
    page = page_of(compared)

    assert done.code == 1
    assert "deployed: ssd, approximate" in done.out.splitlines()
    assert "exactness: none is claimed; the checks agree" in done.out.splitlines()
    assert "<bdi>ssd</bdi></b> is <b>approximate</b>" in page
    assert "This is not a deletion." in page
    assert "No exactness is claimed" in page
    assert "of the time of retraining" in page


@pytest.mark.slow
def test_what_was_tampered_with_fails_by_name_and_beside_the_others(compared: Repo) -> None:
    path = compared.root / "models/unlearned/ssd/model.safetensors"
    weights = bytearray(path.read_bytes())
    weights[-4] ^= 1  # the least bit of the last weight
    path.write_bytes(weights)
    run_methods(compared, "verify")
    done = compared.inline("verify")

    assert done.out.startswith("verdict: pass\n"), "of the deployed model"
    assert line_of(done.out, "method label", "ssd")[2] == "fail"
    assert "  ssd: fail\n    models/unlearned/ssd is not what its record says" in done.out
    assert "1 fails" in page_of(compared)


def test_the_page_compares_the_methods(compared: Repo) -> None:
    page = page_of(compared)

    assert "Methods compared" in page
    assert "Shard map" not in page
    assert "<bdi>retrain</bdi></b> is <b>exact</b>" in page
    assert "The deployed model is what training without the forgotten records produces." in page
    assert "was retrained on the retained records: the result is the same." in page
    for name in ("young", *METHODS):
        assert f"<bdi>{name}</bdi>" in page
        assert (f">{name}</text>" in page) == (name != "certified_removal")
    assert page.count('class="aim"') == 2, "in the picture and in its legend"


@pytest.mark.slow
def test_the_page_tells_what_a_request_ran(compared: Repo) -> None:
    where = places(compared)
    (raw, *_) = [raw for raw in where if not where[raw].is_holdout][40:]
    compared.inline("forget", "--id", raw)
    assert "Do not rely on it." in page_of(compared)
    methods = [f"unlearn@{method}" for method in METHODS]
    run_methods(compared, "forget", "young", *methods, "aggregate", "verify")
    page = page_of(compared)

    assert "The last run applied 5 methods; the original did not change." in page
    assert "new lines on the forget list" in page


def test_no_id_and_no_token_is_shown(compared: Repo) -> None:
    ids = list(places(compared))
    shown = (
        page_of(compared) + compared.inline("verify").out + compared.inline("verify", "--json").out
    )

    assert not re.search(r"\br[0-9]{4}\b", shown)
    assert not any(token_of(compared, raw) in shown for raw in ids)
    assert not re.search(r"u1_[0-9a-f]", shown)
    assert str(compared.root) not in shown


@pytest.mark.parametrize("broken", ["not json", "[]", '{"seconds": {"ssd": "fast"}}'])
def test_damaged_timings_are_not_known_and_nothing_else_is_lost(
    compared: Repo, broken: str
) -> None:
    (compared.root / "reports/timings.json").write_text(broken, encoding="utf-8")
    done = compared.inline("verify", "--json")

    assert done.code == 0, done.err
    assert {entry["seconds"] for entry in done.json["methods"].values()} == {None}
    assert "Times are not known." in page_of(compared)
