"""`unlearn verify --against`: two final models of a real project, and what cannot be compared."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from unlearn.stages.rows.tokens import Key

from tests.cli.conftest import IDS, refused, unchanged
from tests.conftest import Repo, drop_rows, make_frame, places, token_of
from tests.stages.conftest import OTHER_KEY


def trained_ids(repo: Repo, count: int) -> list[str]:
    """Return records of shards, none of them held out."""
    where = places(repo)
    return [raw for raw in IDS if not where[raw].is_holdout][:count]


def forget_and_run(repo: Repo, ids: list[str]) -> None:
    """Forget records, run all stages, let DVC record it, and commit."""
    repo.forget(ids)
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("forget")


def measure_few(repo: Repo) -> None:
    """Let samples of a small project be measured."""
    repo.set_params(verify={"min_rows": 3})


def drop_cache(repo: Repo) -> None:
    shutil.rmtree(repo.root / ".dvc/cache")


@pytest.fixture(scope="session")
def _asked(_done: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    repo = _done.copy(tmp_path_factory.mktemp("against") / "asked")
    forget_and_run(repo, trained_ids(repo, 14))
    return repo


@pytest.fixture
def asked(_asked: Repo, workspace: Path) -> Repo:
    """Return a project after a request for 14 records, for the test to change."""
    return _asked.copy(workspace / "asked")


@pytest.mark.slow
def test_two_final_models_are_attacked_together(done: Repo) -> None:
    ids = trained_ids(done, 14)
    measure_few(done)
    forget_and_run(done, ids)
    before = done.snapshot()

    answer = done.inline("verify", "--against", "HEAD~1", "--json")

    assert answer.code == 0, answer.err
    assert answer.json["against"] == "HEAD~1"
    assert answer.json["rows"] | {"stayed": 0, "others": 0} == {
        "lines": 14,
        "without_rows": 0,
        "went": 14,
        "held_out": 0,
        "shards": len({places(done)[raw].shard for raw in ids}),
        "stayed": 0,
        "others": 0,
    }
    for target in ("final_model", "shard_models"):
        loss = answer.json[target]["attacks"]["loss"]
        low, high = loss["ci"]
        assert 0 <= low <= loss["auc"] <= high <= 1
    assert answer.json["notes"] == []
    assert done.snapshot() == before
    assert not (done.root / ".unlearn/scratch/audit").exists()
    text = done.inline("verify", "--against", "HEAD~1").out
    assert text.startswith("HEAD~1 and now: 14 rows went, in ")
    assert "no better than chance" in text
    for printed in (answer.out, text):
        assert not any(raw in printed or token_of(done, raw) in printed for raw in ids)


@pytest.mark.slow
def test_the_older_model_is_brought_from_the_remote_and_leaves_no_trace(
    done: Repo, tmp_path: Path
) -> None:
    done.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    done.dvc("push", "--quiet")
    measure_few(done)
    forget_and_run(done, trained_ids(done, 14))
    here = done.inline("verify", "--against", "HEAD~1", "--json").json
    drop_cache(done)

    found = done.inline("verify", "--against", "HEAD~1", "--json")

    assert found.code == 0, found.err
    assert found.json == here
    assert not (done.root / ".dvc/cache").exists(), "nothing comes back into the cache"


@pytest.mark.slow
def test_few_rows_and_held_out_rows_give_counts_alone(done: Repo) -> None:
    where = places(done)
    held_out = [raw for raw in IDS if where[raw].is_holdout][:2]
    forget_and_run(done, [*trained_ids(done, 3), *held_out])

    answer = done.inline("verify", "--against", "HEAD~1", "--json").json

    assert answer["rows"]["went"] == 3
    assert answer["rows"]["held_out"] == 2
    assert answer["reasons"] == ["rows that went: 3, fewer than verify.min_rows (10): counts only"]
    assert answer["final_model"] == answer["shard_models"] == {"attacks": {}}
    assert answer["reconstruction"] is None
    text = done.inline("verify", "--against", "HEAD~1").out
    assert "2 other rows were held out: in neither model" in text
    assert "not measured: rows that went: 3" in text


def test_a_request_that_was_not_carried_out_yet_did_not_change_the_model(done: Repo) -> None:
    done.forget(trained_ids(done, 14))
    done.commit("asked, not carried out")

    with unchanged(done.root):
        message = refused(done.inline("verify", "--against", "HEAD~1"))
    assert message.startswith("no request was carried out between the two models")


@pytest.mark.slow
def test_after_an_erasure_there_is_nothing_to_measure(done: Repo) -> None:
    ids = trained_ids(done, 14)
    forget_and_run(done, ids)
    drop_rows(done, ids)
    done.stages()
    done.dvc("commit", "--force", "--quiet")
    done.commit("erased")

    found = done.inline("verify", "--against", "HEAD~2")

    assert "none of the 14 new lines on the forget list has rows" in refused(found)
    assert "an erasure leaves no rows to measure with" in found.err


def test_what_cannot_be_compared_is_refused_and_changes_nothing(asked: Repo) -> None:
    with unchanged(asked.root):
        for options, message in (
            (["--against", "nowhere"], "git knows no revision 'nowhere' here"),
            (["--against", "HEAD"], "no request was carried out between the two models"),
            (["--against", "HEAD~2"], "HEAD~2 has no final model"),
            (["--against", "HEAD~1", "--public"], "--against measures by itself"),
            (["--against", "HEAD~1", "--full"], "--against measures by itself"),
            (["--against", "HEAD~1", "--before", "HEAD~1"], "--against measures by itself"),
        ):
            assert message in refused(asked.inline("verify", *options)), options


def test_a_model_that_was_purged_is_refused(asked: Repo) -> None:
    drop_cache(asked)

    found = asked.inline("verify", "--against", "HEAD~1")

    message = refused(found)
    assert message.startswith("HEAD~1: models/final_model: not in DVC's cache on this machine")
    assert "a model that was purged cannot be compared" in found.err


def test_a_final_model_that_is_not_the_one_in_the_lock_is_refused(asked: Repo) -> None:
    path = asked.root / "models/final_model/ensemble.json"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"\n")
    message = refused(asked.inline("verify", "--against", "HEAD~1"))
    assert message == "models/final_model is not the one in dvc.lock"

    shutil.rmtree(asked.root / "models/final_model")
    message = refused(asked.inline("verify", "--against", "HEAD~1"))
    assert message == "models/final_model is not on this machine"


@pytest.mark.slow
def test_rows_that_are_not_those_in_the_lock_are_refused(done: Repo) -> None:
    """Rows of a stage that ran by itself were in no model yet."""
    ids = trained_ids(done, 14)
    forget_and_run(done, ids[:12])
    drop_rows(done, ids[12:])
    done.stages("shard")

    message = refused(done.inline("verify", "--against", "HEAD~1"))

    assert message == "data/shards is not the one in dvc.lock"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["classes", "features", "key"])
def test_a_model_of_other_rows_is_refused(done: Repo, what: str) -> None:
    """A revision with the lock of the first run, and settings under which it cannot be compared."""
    name = "params.yaml" if what == "key" else "schema.yaml"
    path = done.root / name
    own = path.read_text(encoding="utf-8")
    settings = yaml.safe_load(own)
    if what == "key":
        settings["key_check"] = Key(OTHER_KEY.text).check
    elif what == "classes":
        settings["classes"] = settings["classes"][::-1]
    else:
        settings["features"].pop("income")
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    done.commit("other settings")
    path.write_text(own, encoding="utf-8")
    forget_and_run(done, trained_ids(done, 14))

    message = refused(done.inline("verify", "--against", "HEAD~1"))

    words = {"classes": "other classes", "features": "other features", "key": "another project key"}
    assert words[what] in message


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("sharding", "holdout", 0.4),
        ("sharding", "slices", 3),
        ("sharding", "shards", ["s000", "s001", "s002", "s003", "s004"]),
        ("dataset", "id", "age"),
        ("dataset", "subject", "member"),
    ],
)
def test_a_model_of_rows_that_were_drawn_another_way_is_refused(
    done: Repo, section: str, name: str, value: object
) -> None:
    """Rows that are held out now may have been in the older model."""
    own = done.params()[section]
    changed = {name: value}
    if name in {"id", "subject"}:
        features = {key: kind for key, kind in own["features"].items() if key != value}
        changed["features"] = features
        done.set_params(dataset={"features": features})
    assert own[name] != value
    done.set_params(**{section: changed})
    done.commit("other settings")
    done.set_params(**{section: {name: own[name]}})

    with unchanged(done.root):
        found = done.inline("verify", "--against", "HEAD")

    assert f"HEAD has other settings of {section}.{name}: " in refused(found)
    assert "name a revision from after the change" in found.err


def test_another_file_of_held_out_rows_is_refused(compared: Repo) -> None:
    own = compared.params()
    compared.set_params(dataset={"held_out": "data/others.csv"}, sharding={"holdout": 0.0})
    compared.commit("other settings")
    compared.set_params(dataset={"held_out": None}, sharding=own["sharding"])

    message = refused(compared.inline("verify", "--against", "HEAD"))

    assert message.startswith("HEAD has other settings of sharding.holdout, dataset.held_out: ")


@pytest.mark.slow
def test_rows_that_came_after_the_revision_did_not_go_from_its_model(done: Repo) -> None:
    measure_few(done)
    done.commit("few rows are enough")
    path = done.root / done.params()["dataset"]["path"]
    frame = make_frame(150)
    pd.concat([pd.read_csv(path, dtype=str), frame[90:]]).to_csv(path, index=False)
    done.dvc("add", "--quiet", done.params()["dataset"]["path"])
    done.stages()
    where = places(done)
    came = [raw for raw in frame["id"][90:] if not where[raw].is_holdout][:20]
    forget_and_run(done, [*trained_ids(done, 14), *came])

    answer = done.inline("verify", "--against", "HEAD~1", "--json")

    assert answer.code == 0, answer.err
    assert (answer.json["rows"]["lines"], answer.json["rows"]["went"]) == (34, 14)
    assert any("rows that came later and were forgotten" in note for note in answer.json["notes"])
    # Its own data/shards are needed for that.
    drop_cache(done)
    found = done.inline("verify", "--against", "HEAD~1")
    assert refused(found).startswith("HEAD~1 has another data/shards, which cannot be had: ")
    assert "rows that came later would be taken for rows of the older model" in found.err


@pytest.mark.slow
def test_what_else_changed_between_the_models_is_named(done: Repo) -> None:
    done.set_params(train={"options": {"var_smoothing": 1e-5}})
    *ids, first, second = trained_ids(done, 16)
    drop_rows(done, [first, second])
    forget_and_run(done, ids)

    notes = done.inline("verify", "--against", "HEAD~1", "--json").json["notes"]

    assert [note.partition(" ")[0] for note in notes] == ["data/shards", "the"]
    assert "the settings of training have changed as well" in notes[1]


@pytest.mark.slow
def test_the_deployed_model_of_a_project_without_shards_is_compared(compared: Repo) -> None:
    """The first run is before the request: the fixture's own is after it."""
    where = places(compared)
    ids = [raw for raw in where if not where[raw].is_holdout][40:60]
    compared.forget(ids)
    methods = [f"unlearn@{name}" for name in compared.params()["unlearn"]["methods"]]
    compared.stages("forget", "young", *methods, "aggregate", "verify")
    compared.dvc("commit", "--force", "--quiet")
    compared.commit("forget")

    answer = compared.inline("verify", "--against", "HEAD~1", "--json")

    assert answer.code == 0, answer.err
    assert answer.json["rows"]["went"] == 20
    assert answer.json["final_model"]["attacks"]["loss"]["auc"] is not None
