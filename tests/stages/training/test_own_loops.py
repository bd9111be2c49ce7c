"""A training loop of the user's own: what it gets and may return."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import RefusedRowsError
from unlearn.stages.training.own_training import check_own_training
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.slices import plan_shard, train_shard
from unlearn.stages.training.trial import is_untried, trial_of, trial_rows, try_settings

from tests.stages.conftest import MLP, make_params, make_recipe, make_rows, put, train_at_once
from tests.stages.picture_shards import BESIDE, picture_recipe, picture_rows
from tests.stages.training.own_loops import NET, loop

ROWS = make_rows(60)
SETTINGS = MLP | {"model": "net.py:build", "options": {}, "loop": "my.py:train_slice"}


def own(folder: Path, text: str, *, slices: int = 2, **settings: Any) -> Recipe:
    """Return the recipe of a project with this training loop."""
    (folder / "net.py").write_text(NET)
    (folder / "my.py").write_text(text)
    made = make_recipe(SETTINGS | settings, slices=slices, code=folder / "net.py")
    return Recipe(**{**vars(made), "root": folder})


def fit(recipe: Recipe) -> bytes:
    """Return the state of one slice of made-up rows."""
    estimator, data, seed = trial_of(recipe, *trial_rows(recipe))
    return estimator.fit_slice(None, data, seed)


@pytest.mark.slow
def test_an_honest_loop_passes_the_check(tmp_path: Path) -> None:
    check_own_training(own(tmp_path, loop()))


def test_a_loop_trains_what_the_built_in_loop_would_keep(tmp_path: Path) -> None:
    recipe = own(tmp_path, loop())
    files = train_at_once(recipe, ROWS)

    assert files == train_at_once(recipe, ROWS)
    weights = load(files["model.safetensors"])
    assert set(weights) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    state = load(files["checkpoints/slice-001.safetensors"])
    assert {f"model.{name}" for name in weights} < set(state)
    assert any(name.startswith("optimizer.") for name in state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ({"step": "factor = random.random()"}, "after slice 1"),
        ({"step": "factor = float(np.random.rand())"}, "after slice 1"),
        # torch's own generator, where nothing seeded it.
        ({"begin": "torch.seed()"}, "after slice 1"),
        ({"begin": "factor = hash('a') % 1000"}, "after slice 1"),
        (
            {"top": "seen = []", "begin": "seen.append(1); factor = float(len(seen))"},
            "when it goes on in a new process",
        ),
        # A file in the current folder: the third process has another one.
        (
            {"begin": "open('seen', 'a').write('1'); factor = len(open('seen').read())"},
            "when it goes on in a new process",
        ),
        ({"begin": "factor = 1.0 if rows.number == 1 else time.time() % 1"}, "after slice 2"),
    ],
    ids=["random", "numpy", "torch", "hash", "global", "file", "second slice"],
)
def test_a_loop_that_reads_more_than_it_is_given_is_found(
    tmp_path: Path, lines: dict[str, str], where: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_own_training(own(tmp_path, loop(**lines)))

    assert where in caught.value.message
    assert "my.py:train_slice" in caught.value.message
    assert "(first in model.0.bias)" in caught.value.message


@pytest.mark.slow
def test_dropout_without_a_seed_is_found(tmp_path: Path) -> None:
    unseeded = loop().replace("    torch.manual_seed(seed)\n", "")

    with pytest.raises(InputError, match="after slice 1") as caught:
        check_own_training(own(tmp_path, unseeded))
    assert "torch.manual_seed(seed)" in caught.value.hints[0]


@pytest.mark.slow
def test_the_file_of_another_row_is_not_where_a_relative_path_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("1\n")
    reads = loop(begin="factor = float(open('data.csv').read())")

    with pytest.raises(InputError, match=r"cannot be trained \(FileNotFoundError\)"):
        check_own_training(own(tmp_path, reads))


@pytest.mark.slow
def test_a_loop_that_ends_its_process_is_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ends its process with exit code 7"):
        check_own_training(own(tmp_path, loop(begin="import os; os._exit(7)")))


@pytest.mark.slow
def test_what_is_not_found_in_the_check_follows_from_the_seed_in_training(tmp_path: Path) -> None:
    # Only of more rows than the check has.
    recipe = own(tmp_path, loop(step="factor = random.random() if len(rows) > 90 else 1.0"))

    many = make_rows(200)
    check_own_training(recipe)
    assert train_at_once(recipe, many) == train_at_once(recipe, many)


RETURNS = "def train_slice(state, rows, seed, settings):\n    "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "returns a NoneType in place of named tensors"),
        ("return [1]", "returns a list in place of named tensors"),
        ("return {1: 2}", "a tensor whose name is no text"),
        ("return {'a': 2.0}", "returns a float as 'a', not a tensor"),
        ("return {}", "does not return model.0.bias"),
        (
            "return rows.snapshot(rows.build()) | {'model.more': rows.targets}",
            "returns model.more, which the network does not have",
        ),
        (
            "return rows.snapshot(rows.build()) | {'model.0.bias': rows.targets}",
            "returns model.0.bias as int64 of shape (",
        ),
        (
            "return {n: v.double() for n, v in rows.snapshot(rows.build()).items()}",
            "as float64 of shape (8, 8); the network has float32 of shape (8, 8)",
        ),
        (
            "return rows.snapshot(rows.build()) | {'a': rows.targets.to_sparse()}",
            "returns 'a' as a tensor that is not dense",
        ),
        ("rows.build({'model.a': rows.targets})", "has not the network's weights"),
        ("return rows.nothing", "cannot be trained (AttributeError)"),
        ("1 / 0", "cannot be trained (ZeroDivisionError)"),
        ("rows.targets + rows.targets[:3]", "cannot be trained: The size of tensor a"),
    ],
)
def test_a_wrong_state_is_one_clear_error(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        try_settings(own(tmp_path, RETURNS + body), ROWS)

    assert message in caught.value.message
    assert "my.py:train_slice" in caught.value.message or "build()" in caught.value.message
    assert "\n" not in caught.value.message


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    endless = RETURNS + (
        "return {n: v / 0 for n, v in rows.snapshot(rows.build()).items()}  # inf and NaN"
    )

    with pytest.raises(RefusedRowsError, match=r"my.py:train_slice diverged"):
        fit(own(tmp_path, endless))


def test_a_file_without_the_function_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train.loop: my.py has no function 'train_slice'"):
        fit(own(tmp_path, "x = 1\n"))


def test_a_state_may_hold_more_than_weights(tmp_path: Path) -> None:
    counts = RETURNS + (
        "import torch\n"
        "    number = torch.zeros(()) if state is None else state['mine.number'] + 1\n"
        "    assert rows.number == int(number) + 1\n"
        "    best = torch.tensor(float('inf'))\n"
        "    return rows.snapshot(rows.build(state)) | {'mine.number': number, 'mine.best': best}"
    )
    files = train_at_once(own(tmp_path, counts, slices=3), ROWS)

    second = load(files["checkpoints/slice-002.safetensors"])
    assert second["mine.number"] == 1
    assert "mine.number" not in load(files["model.safetensors"])


def test_the_settings_and_the_rows_that_a_loop_changes_are_its_own(tmp_path: Path) -> None:
    honest = loop()
    rude = loop(
        begin=(
            "settings.options.clear(); settings.options['lr'] = 3; whole = rows.inputs; "
            "whole.zero_(); rows.targets.clone().zero_()"
        )
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    made = [
        train_at_once(own(tmp_path / name, text), ROWS)
        for name, text in (("a", honest), ("b", rude))
    ]
    for name in ("model.safetensors", "checkpoints/slice-001.safetensors"):
        assert made[0][name] == made[1][name]


def test_networks_are_built_without_a_trace_in_the_generators(tmp_path: Path) -> None:
    builds = loop(begin="for _ in range(3): rows.build()")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    made = [
        train_at_once(own(tmp_path / name, text), ROWS)["model.safetensors"]
        for name, text in (("a", loop()), ("b", builds))
    ]

    assert made[0] == made[1]
    assert torch.equal(*(load(content)["0.bias"] for content in made))


AUGMENT = """\
import random as everybody

SEEN = []


def augment(picture, random):
    SEEN.append(1)
    return (picture + {add}).astype(picture.dtype)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("add", "found"),
    [("random.integers(9)", False), ("everybody.randrange(99)", True), ("len(SEEN)", True)],
    ids=["its generator", "the global generator", "earlier rows"],
)
def test_an_augmentation_that_reads_more_than_it_is_given_is_found(
    tmp_path: Path, *, add: str, found: bool
) -> None:
    (tmp_path / "aug.py").write_text(AUGMENT.format(add=add))
    # Made of no steps that the augmentation reaches: what differs are the pictures alone.
    (tmp_path / "my.py").write_text(RETURNS + "return rows.snapshot(rows.build(state))")
    settings = {"augment": {"own": "aug.py:augment"}, "loop": "my.py:train_slice"}
    recipe = picture_recipe(settings, slices=2, root=tmp_path)

    if not found:
        check_own_training(recipe)
        return
    with pytest.raises(InputError, match="gives a row another picture in another process") as error:
        check_own_training(recipe)
    assert "train.augment.own: aug.py:augment" in error.value.message


@pytest.mark.slow
@pytest.mark.parametrize("reads", ["1.0", "(time.time() % 1)"])
def test_a_loss_that_reads_the_clock_is_found(tmp_path: Path, reads: str) -> None:
    (tmp_path / "my.py").write_text(
        "import time\nfrom torch.nn import functional\ndef loss(outputs, targets):\n"
        "    losses = functional.cross_entropy(outputs, targets, reduction='none')\n"
        f"    return losses * {reads}\n"
    )
    recipe = picture_recipe({"loss": "my.py:loss"}, root=tmp_path)

    if reads == "1.0":
        check_own_training(recipe)
        return
    with pytest.raises(InputError, match="train.loss: my.py:loss gives two states after slice 1"):
        check_own_training(recipe)


def test_a_loop_gets_pictures_as_the_network_reads_them(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        loop(
            begin=(
                "assert rows.inputs['photo'].shape == (len(rows), 3, 8, 8); "
                "assert rows.inputs['columns'].dtype == torch.float32; "
                "some = torch.tensor([3, 1]); "
                "assert torch.equal(rows.batch(some)['photo'], rows.inputs['photo'][some]); "
                "one, two = (rows.augmented(some, epoch)['photo'] for epoch in (0, 1)); "
                "assert not torch.equal(one, two); "
                "assert torch.equal(one[1], rows.augmented(some[1:], 0)['photo'][0])"
            )
        )
    )
    settings = {
        "model": "net.py:build",
        "options": {},
        "loop": "my.py:train_slice",
        "augment": {"crop": 2, "colour": 0.2},
    }
    (tmp_path / "net.py").write_text(BOTH)
    recipe = picture_recipe(settings, slices=2, layout=BESIDE, root=tmp_path)
    rows = picture_rows(40, layout=BESIDE)

    made = train_at_once(recipe, rows)
    assert made == train_at_once(recipe, rows)
    without = Recipe(**{**vars(recipe), "train": recipe.train.model_copy(update={"augment": None})})
    (tmp_path / "my.py").write_text(loop())
    assert train_at_once(without, rows)["model.safetensors"] != made["model.safetensors"]


BOTH = """\
import torch
from torch import nn


class Both(nn.Module):
    def __init__(self, shapes, classes):
        super().__init__()
        self.of_pictures = nn.Sequential(
            nn.BatchNorm2d(3), nn.Dropout(0.2), nn.Flatten(), nn.Linear(192, classes)
        )
        self.of_numbers = nn.Linear(shapes["columns"][0], classes)

    def forward(self, parts):
        return self.of_pictures(parts["photo"]) + self.of_numbers(parts["columns"])


def build(shapes, classes):
    return Both(shapes, classes)
"""


@pytest.mark.parametrize("name", ["loop", "loss"])
def test_the_code_of_the_page_trains(tmp_path: Path, name: str) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/own-training.md").read_text()
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, flags=re.DOTALL)
    wanted = {"loop": "def train_slice", "loss": "def loss"}[name]
    files = dict(block for block in blocks if wanted in block[1] or block[0] == "aug.py")
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    function = wanted.removeprefix("def ")
    settings = {name: f"my.py:{function}", "augment": {"flip": True, "own": "aug.py:augment"}}
    recipe = picture_recipe(settings, slices=2, root=tmp_path)

    rows = picture_rows(40)
    assert train_at_once(recipe, rows) == train_at_once(recipe, rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", {"name": "cosine"}),
        ("label_smoothing", 0.1),
        ("clip", 1.0),
        ("precision", "bfloat16"),
        ("average", 0.5),
        ("loss", "my.py:loss"),
    ],
)
def test_a_setting_of_the_built_in_loop_is_refused_beside_another(name: str, value: Any) -> None:
    params = make_params(train=SETTINGS, slices=2).model_dump(mode="json")
    params["train"][name] = value

    with pytest.raises(InputError, match=f"train.{name}: is for the built-in training loop"):
        check_params(params)


def test_a_loop_is_for_networks() -> None:
    params = make_params(train=MLP).model_dump(mode="json")
    params["train"]["loop"] = "my.py:train_slice"

    with pytest.raises(InputError, match="train.loop"):
        check_params(params)


@pytest.mark.slow
@pytest.mark.parametrize("slices", [1, 3])
def test_a_shard_without_some_rows_is_that_of_a_clean_room(tmp_path: Path, slices: int) -> None:
    (tmp_path / "net.py").write_text(BOTH)
    (tmp_path / "my.py").write_text(loop())
    (tmp_path / "aug.py").write_text(AUGMENT.format(add="random.integers(9)"))
    augment = {"crop": 1, "flip": True, "colour": 0.2, "cutout": 2, "own": "aug.py:augment"}
    settings = {
        "model": "net.py:build",
        "options": {},
        "loop": "my.py:train_slice",
        "augment": augment,
    }
    recipe = picture_recipe(settings, slices=slices, layout=BESIDE, root=tmp_path)
    rows = picture_rows(48, layout=BESIDE)
    before = train_at_once(recipe, rows)

    for dropped in range(0, 48, 9):
        kept = rows.take([place for place in range(48) if place not in (dropped, 5)])
        put(tmp_path / str(dropped), before)
        work = plan_shard(recipe, "s000", kept, tmp_path / str(dropped))
        again = train_shard(recipe, work, tmp_path / str(dropped)).files
        assert again == train_at_once(recipe, kept)
        assert again["model.safetensors"] != before["model.safetensors"]


def test_a_wrong_function_of_a_built_in_network_is_found_before_training(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(RETURNS + "return {}")
    recipe = picture_recipe({"loop": "my.py:train_slice"}, root=tmp_path)

    assert is_untried(recipe, {})
    with pytest.raises(InputError, match=r"train.loop: my.py:train_slice does not return model\."):
        try_settings(recipe, picture_rows(40))
    assert try_settings(picture_recipe({}), picture_rows(40)) is None
