"""A model of a set of rows: a request that is planned, carried out and erased leaves no row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from unlearn.stages.context import Context, open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import RECORD, read_shard
from unlearn.stages.rows.token_arrays import digests_of
from unlearn.stages.scan.residue import ROW_DIGEST
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.row_sets import ShardRows

from tests.conftest import Repo, make_frame, make_project, readable
from tests.pipeline.conftest import KEY

#: Values that only the rows that go have.
RARE, NUMBER = "Zanzibar-qx-7", 4321.98765

ROWS = 400


def _rows_of(context: Context, tokens: list[str]) -> pa.Table:
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    have = [bytes(token) for token in digests_of(rows[RECORD])]
    wanted = {bytes.fromhex(token.partition("_")[2]) for token in tokens}
    return rows.filter(pa.array([token in wanted for token in have]))


def _traces(repo: Repo, gone: list[str]) -> list[bytes]:
    """Return ids, values, tokens and digests of rows, as files may have them."""
    context = open_project(Project(repo.root))
    tokens = [context.tokenizer.token("record", raw) for raw in gone]
    rows = _rows_of(context, tokens)
    assert rows.num_rows == len(gone)
    digests = ShardRows(Recipe.of_project(context), "s000").of(rows).digests
    keyed = [bytes.fromhex(token.partition("_")[2]) for token in tokens]
    keyed += [digest.tobytes() for digest in digests]
    texts = [*gone, *tokens, RARE, str(NUMBER), *(value.hex() for value in keyed)]
    return [*keyed, *(text.encode() for text in texts)]


def _holding(folder: Path, traces: list[bytes]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and any(
            trace in content for content in readable(path) for trace in traces
        ):
            yield path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("exact_forest", "classification"),
        ("exact_linear", "classification"),
        ("exact_boosting", "regression"),
    ],
)
def test_an_erasure_leaves_nothing_of_a_row_in_state_model_and_cache(
    model: str, task: str, tmp_path: Path
) -> None:
    frame = make_frame(ROWS)
    frame["id"] = frame["id"].str.replace("r", "zqrec-")
    frame["income"] = frame["income"].astype(float)
    if task == "regression":
        frame["label"] = (frame["age"] * 3_000 + 40_000).round(2)
    options = ("--model", model, "--task", task)
    repo = make_project(tmp_path / "project", frame, *options, key=KEY)
    gone = _trained(repo, frame["id"].tolist())
    path = repo.root / "data/dataset.csv"
    frame.loc[frame["id"].isin(gone), ["city", "income"]] = (RARE, NUMBER)
    frame.to_csv(path, index=False)
    repo.dvc("add", "--quiet", "data/dataset.csv")
    repo.inline("repro")
    repo.commit("first run")
    traces = _traces(repo, gone)
    state = repo.root / "models/shard_models/s000/state"
    assert list(_holding(state, traces)) == [state / "state.safetensors"]
    assert len(list(_holding(repo.root / ".dvc/cache", traces))) >= 3  # dataset, rows and state

    repo.forget(gone)
    before = repo.snapshot()
    plan = repo.inline("plan", "--json").json
    assert "rows to read: " in repo.inline("plan").out
    assert repo.snapshot() == before
    done = repo.inline("repro", "--json").json
    assert plan["changed"] == plan["shards"] == ["s000"]
    assert plan["refitted"] == []
    assert done["rows_trained"] == plan["rows_to_retrain"]
    repo.commit("request")
    scan = repo.inline("scan", "--json")
    assert (scan.code, _with_digests(scan.json)) == (1, ["DVC's cache"])
    models = repo.files("models")

    name = next(each["file"] for each in scan.json["findings"] if each["what"] == ROW_DIGEST)
    (repo.root / "old").write_bytes((repo.root / ".dvc/cache" / name).read_bytes())
    with (repo.root / ".git/info/exclude").open("a") as exclude:
        exclude.write("old\n")
    # After the first time, no row says any more that this copy is of an older model.
    for _ in range(2):
        incomplete = repo.unlearn("erase", "--yes", "--json", "--reflog")
        assert (incomplete.code, incomplete.json["trained"]) == (1, []), incomplete
        pending = [place for place in incomplete.json["places"] if place["state"] == "pending"]
        assert [(place["name"], place["residual"]) for place in pending] == [("the project", 1)]
        repo.commit("erased, but for a copy")
    assert _with_digests(repo.inline("scan", "--json").json) == ["the project"]
    (repo.root / "old").unlink()
    erased = repo.ok("erase", "--yes", "--json", "--reflog").json

    assert erased["complete"], erased
    for folder in ("models", "data/shards", "data/retain_set", ".dvc/cache"):
        assert list(_holding(repo.root / folder, traces)) == [], folder
    assert repo.files("models") == models
    repo.commit("erased")
    scan = repo.unlearn("scan", "--json")
    assert (scan.code, scan.json["findings"]) == (0, []), scan.out
    assert repo.unlearn("verify").code == 0


def _with_digests(answer: dict[str, Any]) -> list[str]:
    """Return the places of row digests."""
    return [each["place"] for each in answer["findings"] if each["what"] == ROW_DIGEST]


def _trained(repo: Repo, ids: list[str]) -> list[str]:
    """Return two ids whose rows a model is trained on, whatever their values are."""
    repo.stages("shard")
    context = open_project(Project(repo.root))
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    inside = {bytes(token).hex() for token in digests_of(rows[RECORD])}

    def is_inside(raw: str) -> bool:
        return context.tokenizer.token("record", raw).partition("_")[2] in inside

    return [raw for raw in ids if is_inside(raw)][:2]
