"""Training slice by slice: whatever stood there before, the bytes follow from the rows."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.shard_file import TARGET, record_tokens
from unlearn.stages.rows.tokens import place
from unlearn.stages.training.lineage import FILE_NAME, read_lineage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.sliced_rows import by_slice
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.stages.conftest import (
    KEY,
    LAYOUT,
    MLP,
    NAIVE_BAYES,
    OTHER_KEY,
    make_recipe,
    make_rows,
    put,
    train_at_once,
)

SLICES = 4
ROWS = make_rows(60)

MODELS: dict[str, dict[str, Any]] = {
    "adam": MLP,
    "dropout and momentum": MLP
    | {
        "options": {"hidden": [6, 5], "dropout": 0.4, "activation": "tanh"},
        "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
        "epochs": 2,
    },
    "SGDClassifier": {
        "model": "sklearn.linear_model.SGDClassifier",
        "options": {"loss": "log_loss", "learning_rate": "adaptive", "eta0": 0.1},
        "epochs": 2,
    },
    "MLPClassifier": {
        "model": "sklearn.neural_network.MLPClassifier",
        "options": {"hidden_layer_sizes": [4]},
        "epochs": 2,
    },
    "GaussianNB": NAIVE_BAYES,
}
QUICK = ("adam", "GaussianNB")


@pytest.fixture(params=list(MODELS))
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return make_recipe(MODELS[request.param], slices=SLICES)


@pytest.fixture(params=QUICK)
def quick(request: pytest.FixtureRequest) -> Recipe:
    return make_recipe(MODELS[request.param], slices=SLICES)


def slice_of(token: str) -> int:
    return place(token, 1, SLICES, 0.0).slice


def without(rows: pa.Table, token: str) -> pa.Table:
    return rows.filter(pa.array([other != token for other in record_tokens(rows)]))


def in_slice(rows: pa.Table, number: int) -> list[str]:
    return [token for token in record_tokens(rows) if slice_of(token) == number]


def in_slices(rows: pa.Table, *numbers: int) -> pa.Table:
    wanted = [slice_of(token) in numbers for token in record_tokens(rows)]
    return rows.filter(pa.array(wanted))


def test_a_row_that_comes_back_gives_the_first_bytes_again(recipe: Recipe, tmp_path: Path) -> None:
    rest = without(ROWS, in_slice(ROWS, 3)[0])
    put(tmp_path, train_at_once(recipe, rest))

    work = plan_shard(recipe, "s000", ROWS, tmp_path)

    assert work.first == 3
    assert train_shard(recipe, work, tmp_path).files == train_at_once(recipe, ROWS)


def test_nothing_is_trained_where_all_of_it_stands(recipe: Recipe, tmp_path: Path) -> None:
    put(tmp_path, train_at_once(recipe, ROWS))
    told: list[int] = []

    work = plan_shard(recipe, "s000", ROWS, tmp_path)

    assert work.first == SLICES + 1
    assert work.rows_to_train == 0
    assert train_shard(recipe, plan_shard(recipe, "s000", ROWS, None), None, told.append)
    assert told == [1, 2, 3, 4]


def test_an_earlier_slices_state_does_not_depend_on_later_rows(recipe: Recipe) -> None:
    whole, part = train_at_once(recipe, ROWS), train_at_once(recipe, in_slices(ROWS, 1, 2))
    states = [name for name in whole if "slice-001" in name or "slice-002" in name]

    assert len(states) == 2
    assert all(whole[name] == part[name] for name in states)


def reformat(content: bytes) -> bytes:
    return json.dumps(json.loads(content)).encode()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _content: None,
    "empty": lambda _content: b"",
    "cut": cut,
    "flipped bit": flip,
    "no text": lambda _content: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_folder_gives_the_same_bytes_more_slowly(
    quick: Recipe, tmp_path: Path, damage: Callable[[bytes], bytes | None]
) -> None:
    whole = train_at_once(quick, ROWS)
    for name, content in whole.items():
        put(tmp_path, whole)
        damaged = damage(content)
        if damaged is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(damaged)

        work = plan_shard(quick, "s000", ROWS, tmp_path)
        trained = train_shard(quick, work, tmp_path)

        assert work.first <= SLICES, name
        assert trained.files == whole, name


@pytest.mark.parametrize("name", [FILE_NAME, "model.json"])
def test_a_reformatted_file_is_written_again(quick: Recipe, tmp_path: Path, name: str) -> None:
    whole = train_at_once(quick, ROWS)
    put(tmp_path, whole)
    (tmp_path / name).write_bytes(reformat(whole[name]))

    work = plan_shard(quick, "s000", ROWS, tmp_path)

    assert work.first == SLICES
    assert train_shard(quick, work, tmp_path).files == whole


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "rows": lambda lineage: lineage["slices"][0].update(rows=lineage["slices"][0]["rows"] + 1),
    "state": lambda lineage: lineage["slices"][1].update(state="0" * 64),
    "last state": lambda lineage: lineage["slices"][-1].update(state="0" * 64),
    "number": lambda lineage: lineage["slices"][0].update(number=SLICES),
    "shard": lambda lineage: lineage.update(shard="s001"),
    "algorithm": lambda lineage: lineage.update(algorithm=lineage["algorithm"] + 1),
    "recipe": lambda lineage: lineage.update(recipe="0" * 64),
    "retain": lambda lineage: lineage.update(retain="0" * 64),
    "model": lambda lineage: lineage.update(model="0" * 64),
    "environment": lambda lineage: lineage["environment"].update(numpy="0.0"),
    "a link less": lambda lineage: lineage["slices"].pop(),
    "a file less": lambda lineage: lineage["files"].pop("model.json"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_lineage_is_written_again(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    """In the tool's own format, so that only its content gives it away."""
    recipe = make_recipe(NAIVE_BAYES, slices=SLICES)
    whole = train_at_once(recipe, ROWS)
    lineage = json.loads(whole[FILE_NAME])
    edit(lineage)
    put(tmp_path, whole | {FILE_NAME: json_bytes(lineage)})

    work = plan_shard(recipe, "s000", ROWS, tmp_path)

    assert work.first <= SLICES
    assert train_shard(recipe, work, tmp_path).files == whole


def test_a_model_edited_together_with_its_lineage_is_not_kept(tmp_path: Path) -> None:
    """Whoever edits a model can edit the digests beside it; without the key, that is all."""
    recipe = make_recipe(NAIVE_BAYES, slices=1)
    whole = train_at_once(recipe, ROWS)
    foreign = train_at_once(recipe, make_rows(60, seed=11))
    lineage, other = json.loads(whole[FILE_NAME]), json.loads(foreign[FILE_NAME])
    assert foreign["model.skops"] != whole["model.skops"]
    for field in ("model", "files"):
        lineage[field] = other[field]
    lineage["slices"][0]["state"] = other["slices"][0]["state"]
    put(tmp_path, foreign | {FILE_NAME: json_bytes(lineage)})

    work = plan_shard(recipe, "s000", ROWS, tmp_path)

    assert work.first == 1
    assert train_shard(recipe, work, tmp_path).files == whole


def test_a_checkpoint_of_other_rows_is_not_resumed_from(quick: Recipe, tmp_path: Path) -> None:
    """Not even with the right digests of itself: its link has to be that of these rows."""
    put(tmp_path, train_at_once(quick, make_rows(60, seed=5)))

    work = plan_shard(quick, "s000", ROWS, tmp_path)

    assert work.first == 1
    assert train_shard(quick, work, tmp_path).files == train_at_once(quick, ROWS)


def test_a_changed_setting_begins_from_nothing(tmp_path: Path) -> None:
    recipe = make_recipe(NAIVE_BAYES, slices=SLICES)
    put(tmp_path, train_at_once(recipe, ROWS))

    others = [
        make_recipe(NAIVE_BAYES, slices=SLICES - 1),
        make_recipe(NAIVE_BAYES | {"epochs": 7}, slices=SLICES),
        make_recipe(NAIVE_BAYES | {"preprocessing": {"scale": "none"}}, slices=SLICES),
        make_recipe(NAIVE_BAYES, slices=SLICES, key=OTHER_KEY),
        Recipe(recipe.train, SLICES, LAYOUT, 1, KEY, None),
    ]
    assert [plan_shard(other, "s000", ROWS, tmp_path).first for other in others] == [1] * 5
    assert plan_shard(recipe, "s001", ROWS, tmp_path).first == 1
    assert len({other.digest("s000") for other in [recipe, *others]}) == 6


def test_two_shards_of_the_same_rows_are_two_models() -> None:
    recipe = make_recipe(MLP)
    one, other = train_at_once(recipe, ROWS), train_at_once(recipe, ROWS, "s001")

    assert one["model.safetensors"] != other["model.safetensors"]


@pytest.mark.parametrize("empty", [(2, 3), (1,), (1, 2, 3), (4,), (2, 4)])
def test_slices_without_rows(quick: Recipe, tmp_path: Path, empty: tuple[int, ...]) -> None:
    filled = [number for number in range(1, SLICES + 1) if number not in empty]
    rows = in_slices(ROWS, *filled)
    whole = train_at_once(quick, rows)
    put(tmp_path, whole)
    lineage = read_lineage(tmp_path)

    assert lineage is not None
    assert lineage.rows == rows.num_rows
    for link in lineage.slices:
        assert (link.rows == 0) == (link.number in empty)
        assert (link.state is None) == (link.number < filled[0])
    assert plan_shard(quick, "s000", rows, tmp_path).first == SLICES + 1
    rest = without(rows, in_slice(rows, filled[-1])[0])
    work = plan_shard(quick, "s000", rest, tmp_path)
    assert work.first == filled[-1]
    assert train_shard(quick, work, tmp_path).files == train_at_once(quick, rest)


def test_the_first_slice_can_lose_its_last_row(quick: Recipe, tmp_path: Path) -> None:
    """What the preprocessing was fitted on is then another slice."""
    first = in_slice(ROWS, 1)[0]
    rest = in_slices(ROWS, 2, 3, 4)
    wanted = [token == first or slice_of(token) > 1 for token in record_tokens(ROWS)]
    put(tmp_path, train_at_once(quick, ROWS.filter(pa.array(wanted))))

    work = plan_shard(quick, "s000", rest, tmp_path)

    assert work.first == 1
    assert train_shard(quick, work, tmp_path).files == train_at_once(quick, rest)


def test_a_shard_without_rows_is_an_empty_model(recipe: Recipe, tmp_path: Path) -> None:
    rows = ROWS.slice(0, 0)
    files = train_at_once(recipe, rows)
    put(tmp_path, files)

    assert files.keys() == {"model.json", FILE_NAME}
    assert json.loads(files["model.json"])["kind"] == "empty"
    assert plan_shard(recipe, "s000", rows, tmp_path).first == SLICES + 1
    put(tmp_path, train_at_once(recipe, ROWS))
    work = plan_shard(recipe, "s000", rows, tmp_path)
    assert train_shard(recipe, work, tmp_path).files == files


def test_one_row_is_enough(recipe: Recipe, tmp_path: Path) -> None:
    rows = ROWS.slice(7, 1)
    files = train_at_once(recipe, rows)
    put(tmp_path, files)

    assert json.loads(files["model.json"])["rows"] == 1
    assert plan_shard(recipe, "s000", rows, tmp_path).first == SLICES + 1


def test_a_classifier_that_cannot_fit_one_class_becomes_a_constant() -> None:
    recipe = make_recipe({"model": "sklearn.linear_model.LogisticRegression"})
    files = train_at_once(recipe, ROWS.filter(pc.equal(ROWS[TARGET], "c1")))

    described = json.loads(files["model.json"])
    assert (described["kind"], described["class"]) == ("constant", 1)
    assert files.keys() == {"model.json", FILE_NAME}


def test_progress_in_rows_is_the_sizes_of_the_unions(tmp_path: Path) -> None:
    recipe = make_recipe(NAIVE_BAYES, slices=SLICES)
    put(tmp_path, train_at_once(recipe, ROWS))
    ends = by_slice(ROWS, SLICES).ends

    full = plan_shard(recipe, "s000", ROWS, None)
    assert full.rows_to_train == full.rows_in_full == sum(ends)
    rest = without(ROWS, in_slice(ROWS, 3)[0])
    part = plan_shard(recipe, "s000", rest, tmp_path)
    ends = by_slice(rest, SLICES).ends
    assert part.rows_to_train == ends[2] + ends[3]
    assert part.rows_in_full == sum(ends)


NET = """
import torch

def build(inputs, classes, width=5):
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, width),
        torch.nn.BatchNorm1d(width),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(width, classes),
    )
"""


def net_recipe(folder: Path, source: str = NET, **train: Any) -> Recipe:
    code = folder / "net.py"
    code.write_text(source, encoding="utf-8")
    settings = MLP | {"model": "net.py:build", "options": {}} | train
    return make_recipe(settings, slices=SLICES, code=code)


@pytest.mark.parametrize("forgotten", [2, SLICES])
def test_a_users_module_with_statistics_of_its_own_is_resumed_exactly(
    tmp_path: Path, forgotten: int
) -> None:
    recipe = net_recipe(tmp_path, batch=9)
    rest = without(ROWS, in_slice(ROWS, forgotten)[0])
    folder = tmp_path / "model"
    put(folder, train_at_once(recipe, ROWS))

    work = plan_shard(recipe, "s000", rest, folder)

    assert work.first == forgotten
    assert train_shard(recipe, work, folder).files == train_at_once(recipe, rest)


def test_a_change_of_the_users_module_retrains(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    put(folder, train_at_once(net_recipe(tmp_path), ROWS))
    changed = net_recipe(tmp_path, NET + "\n# another thought\n")

    assert plan_shard(changed, "s000", ROWS, folder).first == 1


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("def other(): ...", {}, "has no function 'build'"),
        ("raise RuntimeError('no')", {}, r"net.py does not load \(RuntimeError\)"),
        ("def build(:", {}, r"net.py does not load \(SyntaxError\)"),
        ("def build(inputs, classes): return 3", {}, "does not return a torch module"),
        (NET, {"depth": 3}, "does not take 'depth'"),
    ],
)
def test_a_users_module_that_is_none_is_an_error(
    tmp_path: Path, source: str, options: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        train_at_once(net_recipe(tmp_path, source, options=options), ROWS)


def test_a_users_module_that_cannot_take_a_batch_says_so(tmp_path: Path) -> None:
    """Batch normalisation takes no batch of one row, and one row in nine is left over."""
    recipe = net_recipe(tmp_path, batch=1)

    with pytest.raises(InputError, match="net.py:build cannot be trained"):
        train_at_once(recipe, ROWS)


def test_a_users_module_has_to_be_there(tmp_path: Path) -> None:
    recipe = net_recipe(tmp_path)
    (tmp_path / "net.py").unlink()

    with pytest.raises(InputError, match=r"train.model: net.py does not exist"):
        train_at_once(recipe, ROWS)


THREADED: dict[str, dict[str, Any]] = {
    "mlp": MLP | {"options": {"hidden": [256, 64]}, "batch": 256},
    "MLPClassifier": MODELS["MLPClassifier"] | {"options": {"hidden_layer_sizes": [128]}},
    "forest": {
        "model": "sklearn.ensemble.RandomForestClassifier",
        "options": {"n_estimators": 3, "n_jobs": 4},
    },
}

_TRAIN = """
import json, sys
from tests.stages.training.test_slices import digests_of_threaded
json.dump(digests_of_threaded(), sys.stdout)
"""


def digests_of_threaded() -> dict[str, str]:
    """Return a digest of each model whose arithmetic threads could split."""
    rows = make_rows(700)
    found = {}
    for name, train in THREADED.items():
        recipe = make_recipe(train, slices=1 if name == "forest" else 2)
        files = train_at_once(recipe, rows)
        content = b"".join(files[file] for file in sorted(files))
        found[name] = hashlib.sha256(content).hexdigest()
    return found


@pytest.mark.slow
def test_another_process_with_other_thread_settings_gives_the_same_bytes() -> None:
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN],
        text=True,
        capture_output=True,
        check=True,
        env=os.environ | dict.fromkeys(variables, "4") | {"PYTHONHASHSEED": "2"},
    )

    assert json.loads(done.stdout) == digests_of_threaded()
