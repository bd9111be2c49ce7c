"""`unlearn tune`: params.yaml gets what was found, and nothing else of it changes."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unlearn.cli.text_edits import with_entries
from unlearn.stages.errors import InputError

from tests.cli.conftest import refused, unchanged
from tests.conftest import Repo, make_frame, make_project

#: Forgets next to nothing, and reads most rows: any draw but its like is better.
BAD = "{share: 0.5, rate: 0.013, momentum: 0.9, weight_decay: 0.0005, epochs: 10}"
WORSE = "{share: 0.5, rate: 1.0e-12, momentum: 0.9, weight_decay: 0.0005, epochs: 10}  # too little"

#: Learns its rows by heart, so that there is something to forget.
TRAIN = {"options": {"hidden": [24]}, "epochs": 20, "optimizer": {"rate": 0.02}}


@pytest.fixture(scope="module")
def _posthoc(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("tune") / "project"
    draw = np.random.default_rng(2)
    frame = make_frame(150)
    frame["label"] = np.where(draw.random(150) < 0.33, frame["label"].iloc[::-1], frame["label"])
    # With a key of its own each time, so would be what is drawn, and whether it is better.
    repo = make_project(root, frame, "--template", "posthoc", key="3c" * 32, train=TRAIN)
    plain = (root / "params.yaml").read_text(encoding="utf-8")
    commented = re.sub(r"^  settings:$", "  settings:  # of all methods", plain, flags=re.MULTILINE)
    salun = re.compile(r"^    salun:\n(      .*\n)+", flags=re.MULTILINE)
    commented = salun.sub(f"    # What SalUn gets.\n    salun: {WORSE}\n", commented)
    (root / "params.yaml").write_text(commented, encoding="utf-8")
    repo.stages("shard", "forget")
    repo.commit("ran")
    return repo


@pytest.fixture
def posthoc(_posthoc: Repo, tmp_path: Path) -> Iterator[Repo]:
    copy = _posthoc.copy(tmp_path / "project")
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


def text(repo: Repo) -> str:
    return (repo.root / "params.yaml").read_bytes().decode()


def trail(repo: Repo, method: str = "salun") -> list[dict[str, str]]:
    with (repo.root / f"reports/tune/{method}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.trained
def test_params_yaml_gets_the_best_settings_and_keeps_all_else(posthoc: Repo) -> None:
    before = text(posthoc)

    found = posthoc.inline("tune", "salun", "--budget", "4", "--json").json

    assert found["improved"] is True
    assert found["wrote"] == ["params.yaml", "reports/tune/salun.csv"]
    best = found["trials"][found["best"]]
    assert found["distance"] == {
        "before": found["trials"][0]["distance"],
        "after": best["distance"],
    }
    assert best["distance"] < found["trials"][0]["distance"]
    old, new = before.splitlines(), text(posthoc).splitlines()
    changed = [number for number, line in enumerate(old) if line != new[number]]
    assert len(old) == len(new)
    assert len(changed) == 1
    assert new[changed[0]].endswith("  # too little")
    expected = yaml.safe_load(before)
    expected["unlearn"]["settings"]["salun"] |= found["settings"]
    assert yaml.safe_load(text(posthoc)) == expected
    assert posthoc.params()["unlearn"]["settings"]["salun"] == best["settings"]
    assert set(found["settings"]) <= {"share", "rate", "epochs"}
    assert "rate" in found["settings"]


@pytest.mark.slow
def test_the_trail_holds_every_trial_and_follows_from_what_was_read(
    posthoc: Repo, tmp_path: Path
) -> None:
    other = posthoc.copy(tmp_path / "other")

    found = posthoc.inline("tune", "salun", "--budget", "2", "--json").json
    other.inline("tune", "salun", "--budget", "2")

    lines = trail(posthoc)
    assert [line["trial"] for line in lines] == ["0", "1", "2"]
    for line, trial in zip(lines, found["trials"], strict=True):
        assert float(line["distance"]) == trial["distance"]
        assert {name: json.loads(line[name]) for name in trial["settings"]} == trial["settings"]
    for name in ("params.yaml", "reports/tune/salun.csv"):
        assert (posthoc.root / name).read_bytes() == (other.root / name).read_bytes()
    assert re.search("second|time|u1_", ",".join(lines[0])) is None


@pytest.mark.slow
def test_where_nothing_is_better_the_settings_stay_and_the_trail_is_kept(posthoc: Repo) -> None:
    posthoc.inline("tune", "salun", "--budget", "4")
    before = text(posthoc)
    assert "1.0e-12" not in before

    # The same draws again: the one that won stands in params.yaml now.
    done = posthoc.inline("tune", "salun", "--budget", "4")

    assert done.code == 0
    assert done.out.splitlines()[2:] == [
        "no trial was better: the settings are unchanged",
        "wrote reports/tune/salun.csv",
    ]
    assert text(posthoc) == before
    assert len(trail(posthoc)) == 5


@pytest.mark.slow
def test_a_dry_run_says_the_same_and_changes_nothing(posthoc: Repo) -> None:
    with unchanged(posthoc.root):
        dry = posthoc.inline("tune", "salun", "--budget", "2", "--dry-run", "--json").json

    wet = posthoc.inline("tune", "salun", "--budget", "2", "--json").json
    assert dry["wrote"] == []
    assert {**dry, "wrote": None} == {**wet, "wrote": None}


def test_what_it_says_to_people(posthoc: Repo) -> None:
    done = posthoc.inline("tune", "salun", "--budget", "2", "--rows", "60")

    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "salun: 2 draws tried, to forget 10 retained rows in a model of 60"
    assert re.fullmatch(
        r"distance from retraining: \d\.\d{4} as it was, \d\.\d{4} at best", lines[1]
    )
    assert any(re.fullmatch(r"  rate: 1e-12 -> \S+", line) for line in lines)
    assert lines[-2:] == ["wrote params.yaml, reports/tune/salun.csv", "next: unlearn repro"]
    assert done.err == ""


def set_methods(repo: Repo) -> None:
    raw = repo.params()["unlearn"]
    repo.set_params(unlearn={**raw, "methods": ["retrain", "ssd"]})


def test_a_method_that_is_not_listed_is_said_to_be(posthoc: Repo) -> None:
    set_methods(posthoc)

    done = posthoc.inline("tune", "salun", "--budget", "1")

    assert done.out.splitlines()[-1] == "note: unlearn.methods does not name salun"


Spoil = Callable[[Repo], object]


def as_alias(repo: Repo) -> None:
    """Write the settings of two methods as one, which an edit would change at once."""
    before = text(repo)
    one = before.replace(f"salun: {WORSE}", f"salun: &both {BAD}")
    two = re.sub(r"^    bad_teacher:\n(      .*\n)+", "", one, flags=re.MULTILINE)
    own = "own:\n    my.py:f: *both\n"
    edited = re.sub(r"own: \{\}\n", own, two)
    edited = re.sub(r"(  methods:\n)", "\\1  - my.py:f\n", edited)
    (repo.root / "params.yaml").write_text(edited, encoding="utf-8")


def without_rows(repo: Repo) -> None:
    shutil.rmtree(repo.root / "data/retain_set")


@pytest.mark.parametrize(
    ("arguments", "said", "spoil"),
    [
        (("scrubb",), "there is no method 'scrubb'", None),
        (("my.py:f",), "my.py:f is a method of your own", None),
        (("retrain",), "retrain has no setting to search", None),
        (("certified_removal",), "certified_removal has no setting to search", None),
        (("ssd", "--rows", "49"), "a search on 49 rows would have 9 to forget", None),
        (("ssd",), "data/retain_set/s000.parquet is missing", without_rows),
        (("salun",), "params.yaml: unlearn.settings.salun", as_alias),
    ],
)
def test_bad_input_changes_nothing(
    posthoc: Repo, arguments: tuple[str, ...], said: str, spoil: Spoil | None
) -> None:
    if spoil is not None:
        spoil(posthoc)

    with unchanged(posthoc.root):
        error = refused(posthoc.inline("tune", *arguments, "--budget", "1"))

    assert error.startswith(said)


@pytest.mark.parametrize("budget", ["0", "-1", "many"])
def test_a_budget_is_at_least_1(posthoc: Repo, budget: str) -> None:
    with unchanged(posthoc.root):
        assert "--budget" in refused(posthoc.inline("tune", "ssd", "--budget", budget))


def test_the_nearest_name_is_hinted(posthoc: Repo) -> None:
    done = posthoc.inline("tune", "scrubb", "--budget", "1", "--json")

    assert done.code == 2
    assert done.json["error"]["hints"] == ["did you mean scrub?"]


def test_a_project_of_shards_is_refused(fresh: Repo) -> None:
    with unchanged(fresh.root):
        said = refused(fresh.inline("tune", "ssd", "--budget", "1"))

    assert said == "this project has shards, and no method to tune"


def test_a_method_that_does_not_apply_is_refused_with_the_reason(posthoc: Repo) -> None:
    posthoc.set_params(train={"model": "sklearn.naive_bayes.GaussianNB", "options": {}})

    with unchanged(posthoc.root):
        said = refused(posthoc.inline("tune", "ssd", "--budget", "1"))

    assert said.startswith("ssd does not apply: ")


def test_while_a_stage_reads_params_yaml_it_waits(
    posthoc: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = posthoc.root / ".dvc/tmp"
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("unlearn.cli.canary.PATIENCE", 0.2)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = {"pid": other.pid, "cmd": "dvc repro"}
        held = {"read": {os.fspath(posthoc.root / "params.yaml"): [owner]}}
        (folder / "rwlock").write_text(json.dumps(held), encoding="ascii")
        before = text(posthoc)

        busy = refused(posthoc.inline("tune", "ssd", "--budget", "1"), 4)

        assert "a stage still reads params.yaml" in busy
        assert text(posthoc) == before
        assert posthoc.inline("tune", "ssd", "--budget", "1", "--dry-run").code == 0
        other.communicate(b"\n")
    assert posthoc.inline("tune", "ssd", "--budget", "1").code == 0


PATH = ("unlearn", "settings", "scrub")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # a flow mapping, a comment behind it
            "unlearn:\n  settings:\n    scrub: {alpha: 1.0, rate: 0.1, epochs: 3}  # mine\n",
            "unlearn:\n  settings:\n    scrub: {alpha: 1.0, rate: 0.02, epochs: 5}  # mine\n",
        ),
        (  # one of its entries is new
            "unlearn:\n  settings:\n    scrub: {rate: 0.1}\nverify: {}\n",
            "unlearn:\n  settings:\n    scrub: {rate: 0.02, epochs: 5}\nverify: {}\n",
        ),
        (  # an empty one
            "unlearn:\n  settings:\n    scrub: {}\n",
            "unlearn:\n  settings:\n    scrub: {rate: 0.02, epochs: 5}\n",
        ),
        (  # over lines
            "unlearn: {settings: {scrub: {\n  rate: 1,  # one\n  epochs: 2, # two\n}}}\n",
            "unlearn: {settings: {scrub: {\n  rate: 0.02,  # one\n  epochs: 5, # two\n}}}\n",
        ),
        (  # a block mapping, its comments
            (
                "unlearn:\n  settings:\n    scrub:\n      # how far\n      rate: 0.1  # a\n"
                "      epochs: 3  # b\n\n    # the next\n    ssd: {}\n"
            ),
            (
                "unlearn:\n  settings:\n    scrub:\n      # how far\n      rate: 0.02  # a\n"
                "      epochs: 5  # b\n\n    # the next\n    ssd: {}\n"
            ),
        ),
        (  # one of its entries is new: below the last one, above what follows
            "unlearn:\n  settings:\n    scrub:\n      rate: 0.1  # a\n\n    # next\n    ssd: {}\n",
            (
                "unlearn:\n  settings:\n    scrub:\n      rate: 0.02  # a\n      epochs: 5\n\n"
                "    # next\n    ssd: {}\n"
            ),
        ),
        (  # no entry for the method, among blocks within blocks
            "unlearn:\n  settings:\n    ssd:\n      selection: 1.0  # c\n  # own ones\n  own: {}\n",
            (
                "unlearn:\n  settings:\n    ssd:\n      selection: 1.0  # c\n"
                "    scrub: {rate: 0.02, epochs: 5}\n  # own ones\n  own: {}\n"
            ),
        ),
        (  # nor for any method
            "unlearn:\n  methods:\n    - scrub  # d\n\nverify: {}\n",
            (
                "unlearn:\n  methods:\n    - scrub  # d\n"
                "  settings: {scrub: {rate: 0.02, epochs: 5}}\n\nverify: {}\n"
            ),
        ),
        (  # a name without anything behind it
            "unlearn:\n  settings:  # none\n  own: {}\n",
            "unlearn:\n  settings: {scrub: {rate: 0.02, epochs: 5}}  # none\n  own: {}\n",
        ),
        (
            "unlearn:\n  settings: {scrub: null}\n",
            "unlearn:\n  settings: {scrub: {rate: 0.02, epochs: 5}}\n",
        ),
        (  # no end of line at the end
            "unlearn:\n  settings:\n    ssd: {}",
            "unlearn:\n  settings:\n    ssd: {}\n    scrub: {rate: 0.02, epochs: 5}\n",
        ),
        (  # line ends of another system
            "unlearn:\r\n  settings:\r\n    scrub:\r\n      rate: 0.1\r\n",
            "unlearn:\r\n  settings:\r\n    scrub:\r\n      rate: 0.02\r\n      epochs: 5\r\n",
        ),
        (  # written otherwise, but the same already
            "unlearn:\n  settings:\n    scrub: {rate: 2.0e-2, epochs: 0x5}\n",
            "unlearn:\n  settings:\n    scrub: {rate: 2.0e-2, epochs: 0x5}\n",
        ),
    ],
)
def test_an_edit_leaves_every_other_character_alone(before: str, after: str) -> None:
    assert with_entries(before, PATH, {"rate": 0.02, "epochs": 5}) == after


@pytest.mark.parametrize(
    "before",
    [
        "unlearn:\n  own: {a: &x {rate: 1.0}}\n  settings:\n    scrub: *x\n",
        "unlearn:\n  settings: &s\n    ssd: {}\n  own: *s\n",
    ],
)
def test_an_edit_that_would_change_more_is_refused(before: str) -> None:
    with pytest.raises(InputError, match="unlearn.settings.scrub") as error:
        with_entries(before, PATH, {"rate": 0.02})

    assert error.value.hints == ("set `rate: 0.02` there by hand",)


NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.floats(1e-9, 1e9) | st.integers(0, 99)
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=4)


@pytest.mark.slow
@given(now=MAPPINGS, new=MAPPINGS, flow=st.booleans(), others=MAPPINGS)
def test_after_an_edit_the_text_says_what_was_asked_for(
    now: dict[str, Any], new: dict[str, Any], flow: bool, others: dict[str, Any]
) -> None:
    content = {"top": {"first": others, "it": now, "last": others}, "end": 1}
    before = yaml.safe_dump(content, sort_keys=False, default_flow_style=flow and None)

    after = with_entries(before, ("top", "it"), new)

    content["top"] = {"first": others, "it": now | new, "last": others}
    assert yaml.safe_load(after) == content
