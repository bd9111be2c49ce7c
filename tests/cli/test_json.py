"""`--json`: one object with a schema version on stdout, and nothing else; errors included."""

from typing import Any

import pytest

from tests.cli.conftest import FRAME, IDS
from tests.conftest import Done, Repo, places


def one_object(done: Done) -> dict[str, Any]:
    """Return the one JSON object on stdout; insist that nothing else is there."""
    assert done.out.endswith("\n")
    assert done.out.count("\n") == 1
    value = done.json
    assert next(iter(value)) == "schema_version"
    assert value["schema_version"] == 1
    assert "NaN" not in done.out
    return value


def test_forget(done: Repo) -> None:
    value = one_object(done.inline("forget", "--id", "r0001", "--id", "r0002", "--json"))

    assert (value["added"], value["already"], value["unknown"]) == (2, 0, 0)
    assert isinstance(value["shards"], list)


@pytest.mark.slow
def test_plan_before_and_after_a_request(done: Repo) -> None:
    nothing = one_object(done.inline("plan", "--json"))
    assert nothing["shards"] == nothing["stages"] == []
    assert (nothing["records"], nothing["rows_to_retrain"]) == (0, 0)
    assert nothing["fraction_of_full_training"] == 0
    where = places(done)
    trained = next(raw for raw in IDS if not where[raw].is_holdout)
    held_out = next(raw for raw in IDS if where[raw].is_holdout)
    shard = where[trained].shard

    (done.root / "ids.txt").write_text(f"{trained}\n{held_out}\n", encoding="ascii")
    planned = one_object(done.inline("plan", "--ids", "ids.txt", "--json"))
    assert planned["shards"] == [shard]
    assert planned["records"] == 2
    assert planned["stages"] == ["forget", f"train@{shard}", "aggregate", "verify"]
    rows = sum(place.shard == shard for place in where.values()) - 1
    assert planned["rows_to_retrain"] == rows
    training = sum(not place.is_holdout for place in where.values()) - 1
    assert planned["fraction_of_full_training"] == pytest.approx(rows / training)
    assert planned["seconds_expected"] is None or planned["seconds_expected"] > 0
    done.inline("forget", "--id", trained, "--id", held_out)
    again = one_object(done.inline("plan", "--json"))
    for key in ("shards", "records", "rows_to_retrain", "stages", "fraction_of_full_training"):
        assert again[key] == planned[key], key


def test_a_plan_for_a_first_run_is_everything(fresh: Repo) -> None:
    value = one_object(fresh.inline("plan", "--json"))

    assert value["shards"] == ["s000", "s001", "s002"]
    assert value["fraction_of_full_training"] == 1
    assert value["seconds_expected"] is None
    assert value["stages"][:2] == ["recipe", "shard"]
    assert value["stages"][-1] == "verify"


@pytest.mark.slow
def test_status(done: Repo) -> None:
    value = one_object(done.inline("status", "--json"))
    assert (value["pending"], value["applied"], value["up_to_date"]) == (0, 0, True)

    done.inline("forget", "--id", "r0001", "--id", "r0002")
    value = one_object(done.inline("status", "--json"))
    assert (value["pending"], value["applied"], value["up_to_date"]) == (2, 0, False)


def test_audit(done: Repo) -> None:
    value = one_object(done.inline("audit", "--json"))

    assert (value["old"], value["forgotten"]) == ("HEAD", 0)
    assert value["new"] == "working tree"
    assert value["retrained"] == value["unexplained"] == []
    assert value["untouched"] == ["train@s000", "train@s001", "train@s002"]
    assert value["verdict"] == "consistent"


def test_verify(done: Repo) -> None:
    value = one_object(done.inline("verify", "--json"))

    assert value["verdict"] == "pass"
    assert {"reran", "matched", "lineage_clean"} <= value["exactness"].keys()
    assert value["exactness"]["lineage_clean"] is True
    assert value["membership"] is None
    assert 0 <= value["utility"]["accuracy"] <= 1
    assert value["utility"]["log_loss"] > 0


def test_predict(done: Repo) -> None:
    value = one_object(
        done.inline("predict", "--input", "data/dataset.csv", "--output", "o.csv", "--json")
    )

    assert (value["rows"], value["output"]) == (len(FRAME), "o.csv")


def test_doctor(done: Repo) -> None:
    value = one_object(done.inline("doctor", "--json"))

    assert value["healthy"] == (value["findings"] == [])
    assert {"dvc", "torch", "python"} <= value["environment"].keys()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("forget", "--id", "nobody"), 2),
        (("forget", "--id"), 2),
        (("forget", "--nope"), 2),
        (("nope",), 2),
        (("predict", "--input", "a.csv"), 2),
        (("repro", "-j", "none"), 2),
        (("audit", "nowhere..HEAD"), 2),
        ((), 2),
    ],
)
def test_an_error_is_one_object_too(done: Repo, command: tuple[str, ...], code: int) -> None:
    answer = done.inline(*command, "--json")

    assert answer.code == code
    error = one_object(answer)["error"]
    assert error["exit_code"] == code
    assert error["message"]
    assert "\n" not in error["message"]
    assert isinstance(error["hints"], list)
    assert answer.err == ""


def test_an_error_of_a_process_is_one_object_too(done: Repo) -> None:
    answer = done.unlearn("forget", "--id", "nobody", "--json")

    assert (answer.code, answer.err) == (2, "")
    assert one_object(answer)["error"]["exit_code"] == 2
