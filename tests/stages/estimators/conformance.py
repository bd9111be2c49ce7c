"""What every family of estimators has to hold, in the spirit of scikit-learn's `check_estimator`.

A test of a family makes a `Case` of it and runs each of `CHECKS` on it.
"""

import hashlib
import importlib
import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec, make_text_estimator
from unlearn.stages.estimators.spec import EstimatorSpec
from unlearn.stages.rows.shard_file import TARGET, record_tokens, targets, training_targets
from unlearn.stages.training.environment import environment
from unlearn.stages.training.lineage import FILE_NAME as LINEAGE_FILE
from unlearn.stages.training.lineage import read_lineage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel, read_shard_model, spec_of
from unlearn.stages.training.sliced_rows import by_slice
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.stages.conftest import put, train_at_once

SLICES = 4
SHARD = "s000"

Numbers = npt.NDArray[np.float64]
#: What a weights file holds, by the name of its tensor or member.
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Container:
    """How a test reads and writes the files of one format.

    Parameters
    ----------
    read
        Returns the tensors of a file.
    write
        Returns a file of the same format with these tensors, given a file that it takes everything
        else from. Its bytes are others than this tool writes.
    """

    read: Callable[[bytes], Arrays]
    write: Callable[[Arrays, bytes], bytes]


def _read_skops(content: bytes) -> Arrays:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name: np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
            if name.endswith(".npy")
        }


def _write_skops(arrays: Arrays, like: bytes) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(like)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in reversed(old.namelist()):
            content = io.BytesIO(old.read(name))
            if name in arrays:
                content = io.BytesIO()
                np.save(content, arrays[name], allow_pickle=False)
            new.writestr(name, content.getvalue())
    return out.getvalue()


#: Of each tree, numbers that stand alone: others have to match each other.
_XGBOOST_NUMBERS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")


def _read_xgboost(content: bytes) -> Arrays:
    trees = json.loads(content)["learner"]["gradient_booster"]["model"]["trees"]
    return {
        f"{number} {name}": np.array(tree[name], dtype=np.float64)
        for number, tree in enumerate(trees)
        for name in _XGBOOST_NUMBERS
    }


def _write_xgboost(arrays: Arrays, like: bytes) -> bytes:
    value = json.loads(like)
    value["version"] = [99, 0, 0]
    trees = value["learner"]["gradient_booster"]["model"]["trees"]
    for place, array in arrays.items():
        number, name = place.split()
        trees[int(number)][name] = array.tolist()
    return json.dumps(value, indent=1).encode()


#: Of each tree, numbers that stand alone.
_LIGHTGBM_NUMBERS = ("leaf_value", "leaf_weight", "leaf_count", "split_gain", "internal_value")


def _read_lightgbm(content: bytes) -> Arrays:
    found: Arrays = {}
    for number, tree in enumerate(content.decode().split("\nTree=")[1:]):
        lines = dict(line.split("=", 1) for line in tree.splitlines() if "=" in line)
        for name in _LIGHTGBM_NUMBERS:
            found[f"{number} {name}"] = np.array(lines[name].split(), dtype=np.float64)
    return found


def _write_lightgbm(arrays: Arrays, like: bytes) -> bytes:
    head, *trees = like.decode().replace("version=v4", "version=v99").split("\nTree=")
    for number, tree in enumerate(trees):
        lines = tree.split("\n")
        for at, line in enumerate(lines):
            name = line.partition("=")[0]
            if (values := arrays.get(f"{number} {name}")) is not None:
                kind = int if name == "leaf_count" else float
                lines[at] = f"{name}={' '.join(repr(kind(value)) for value in values)}"
        trees[number] = "\n".join(lines)
    return "\nTree=".join([head, *trees]).encode()


def _read_catboost(content: bytes) -> Arrays:
    return {
        f"{number} {name}": np.array(tree[name], dtype=np.float64)
        for number, tree in enumerate(json.loads(content)["oblivious_trees"])
        for name in ("leaf_values", "leaf_weights")
    }


def _write_catboost(arrays: Arrays, like: bytes) -> bytes:
    value = json.loads(like)
    value["model_info"]["catboost_version_info"] = "99.0"
    for place, array in arrays.items():
        number, name = place.split()
        value["oblivious_trees"][int(number)][name] = array.tolist()
    return json.dumps(value, indent=1).encode()


CONTAINERS: Mapping[str, Container] = {
    "safetensors": Container(
        lambda content: {name: value.numpy() for name, value in load(content).items()},
        lambda arrays, _like: save(
            {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()},
            metadata={"written": "by a test"},
        ),
    ),
    "skops": Container(_read_skops, _write_skops),
    "XGBoost JSON": Container(_read_xgboost, _write_xgboost),
    "LightGBM text": Container(_read_lightgbm, _write_lightgbm),
    "CatBoost JSON": Container(_read_catboost, _write_catboost),
}


@dataclass
class Case:
    """A family, and settings to try it by.

    Parameters
    ----------
    spec
        The family.
    recipe
        How its models are trained, but for the number of slices. Where it reads features, it
        should learn `rows`.
    rows
        Rows of the recipe's layout, of all classes and slices.
    container
        How a test reads and writes its files.
    learns
        Whether the settings let it learn the rows.
    """

    spec: EstimatorSpec
    recipe: Recipe
    rows: pa.Table
    container: Container
    learns: bool = True
    _trained: dict[int, dict[str, bytes]] = field(default_factory=dict)

    @property
    def slices(self) -> int:
        """Slices to train by: several, if the family can go on from a state."""
        return SLICES if self.spec.can_slice(self.recipe.train.model) else 1

    def sliced(self, slices: int | None = None) -> Recipe:
        """Return the recipe for a number of slices; as many as it can take if not given."""
        return replace(self.recipe, slices=slices or self.slices)

    @property
    def is_number(self) -> bool:
        """Whether the target is a number."""
        return self.recipe.layout.task == "regression"

    def files(self) -> dict[str, bytes]:
        """Return the folder of a model of all rows, trained once for all checks."""
        if self.slices not in self._trained:
            self._trained[self.slices] = train_at_once(self.sliced(), self.rows)
        return dict(self._trained[self.slices])

    def model(self) -> ShardModel:
        """Return that model."""
        return ShardModel.of_files(self.files())

    def weights(self) -> bytes:
        """Return that model's weights."""
        return self.files()[self.spec.file_name]

    def probabilities(self, model: ShardModel, rows: pa.Table | None = None) -> Numbers:
        """Return a model's probabilities: of classes, or of the tokens that may come next.

        They are the predicted numbers where the target is one.
        """
        asked = self.rows if rows is None else rows
        if self.spec.modality == "tabular":
            train = self.recipe.train
            return model.predictor(self.recipe.code, train.trusted_types).answers(asked)
        recipe = self.recipe
        estimator = make_text_estimator(recipe.train, recipe.layout, recipe.root)
        module = estimator.open(model.weights or b"", model.description)
        sequences = estimator.encoder.encode(asked).sequences
        batch = sequences.batch(np.arange(2), estimator.encoder.pad, estimator.device)
        with torch.inference_mode():
            logits = estimator.forward(module, batch.inputs).double()
        found: Numbers = torch.softmax(logits, dim=-1).flatten(0, 1).numpy()
        return found


def check_declaration(case: Case, _folder: Path) -> None:
    """The registry finds the family, and what it declares can be imported."""
    assert find_spec(case.recipe.train.model) is case.spec
    for module in case.spec.preload:
        assert importlib.import_module(module)


def check_environment(case: Case, _folder: Path) -> None:
    """Versions of its libraries are facts of the environment, which are the same each time."""
    facts = environment(case.recipe.train)

    assert set(case.spec.libraries) <= facts.keys()
    assert all(facts[name] != "none" for name in case.spec.libraries)
    assert set(case.spec.facts(case.recipe.train)) <= facts.keys()
    assert all(isinstance(value, str) for value in facts.values())
    assert environment(case.recipe.train) == facts


def check_two_fits(case: Case, _folder: Path) -> None:
    """Two fits give the same bytes."""
    assert train_at_once(case.sliced(), case.rows) == case.files()


def check_save_and_load(case: Case, folder: Path) -> None:
    """A model read from its folder is the one that was written, and answers as it did."""
    put(folder, case.files())
    written, loaded = case.model(), read_shard_model(folder, SHARD)
    lineage = read_lineage(folder)

    assert loaded == written
    assert spec_of(loaded.description) is case.spec
    assert (loaded.kind, loaded.description["file"]) == (case.spec.kind, case.spec.file_name)
    assert lineage is not None
    assert loaded.digest == lineage.model
    for link in lineage.slices[:-1]:
        assert link.checkpoint == case.spec.checkpoint_name(link.number)
        assert loaded.state_digest((folder / link.checkpoint).read_bytes()) == link.state
    answers = case.probabilities(loaded)
    assert np.array_equal(case.probabilities(written), answers)
    assert np.array_equal(case.probabilities(loaded), answers)


def check_resuming(case: Case, folder: Path) -> None:
    """Training resumed at any slice gives the bytes of training without interruption."""
    if case.slices == 1:
        assert not case.spec.can_slice(case.recipe.train.model)
        return
    recipe = case.sliced()
    sliced = by_slice(case.rows, case.slices)
    for number in range(1, case.slices + 1):
        token = record_tokens(sliced.slice_rows(number))[0]
        rest = case.rows.filter(pa.array([other != token for other in record_tokens(case.rows)]))
        assert rest.num_rows == case.rows.num_rows - 1
        at = folder / str(number)
        put(at, case.files())
        begun: list[int] = []

        work = plan_shard(recipe, SHARD, rest, at)
        trained = train_shard(recipe, work, at, begun.append)

        assert work.first == number
        assert begun == list(range(number, case.slices + 1))
        assert trained.files == train_at_once(recipe, rest)
        assert trained.files != case.files()


def check_empty_shard(case: Case, folder: Path) -> None:
    """A shard without rows has a model of its own kind, whatever stood there before."""
    empty = case.rows.slice(0, 0)
    files = train_at_once(case.sliced(), empty)
    put(folder, case.files())

    assert files.keys() == {"model.json", LINEAGE_FILE}
    assert json.loads(files["model.json"])["kind"] == "empty"
    work = plan_shard(case.sliced(), SHARD, empty, folder)
    assert train_shard(case.sliced(), work, folder).files == files


def check_one_class(case: Case, _folder: Path) -> None:
    """A shard whose rows have one class has a model, and one that answers with all classes."""
    if case.spec.modality == "text":
        return
    if case.is_number:
        _check_one_number(case)
        return
    rows = case.rows.filter(pc.equal(case.rows[TARGET], "c1"))
    for slices in {1, case.slices}:
        recipe = case.sliced(slices)
        files = train_at_once(recipe, rows)
        model = ShardModel.of_files(files)

        assert train_at_once(recipe, rows) == files
        assert model.kind in (case.spec.kind, "constant")
        found = model.predictor(recipe.code).probabilities(case.rows)
        assert found.shape == (case.rows.num_rows, len(recipe.layout.classes))
        assert np.allclose(found.sum(axis=1), 1)
        if model.kind == "constant":
            assert (found.argmax(axis=1) == 1).all()


def _check_one_number(case: Case) -> None:
    """A shard whose rows have one number has a model, and one that answers with this number."""
    at = case.rows.column_names.index(TARGET)
    same = pa.array([40_000.0] * case.rows.num_rows, pa.float64())
    rows = case.rows.set_column(at, case.rows.schema.field(at), same)
    files = train_at_once(case.sliced(1), rows)

    assert train_at_once(case.sliced(1), rows) == files
    found = case.probabilities(ShardModel.of_files(files), rows)
    assert np.allclose(found, 40_000, rtol=1e-3)


def _check_numbers(case: Case, found: Numbers) -> None:
    truth = training_targets(case.rows, case.recipe.layout)
    assert found.shape == truth.shape
    assert case.model().has_probabilities
    if case.learns:
        assert np.corrcoef(found, truth)[0, 1] > 0.7
        assert abs(found.mean() - truth.mean()) < truth.std()


def check_probabilities(case: Case, _folder: Path) -> None:
    """Probabilities are in [0, 1], sum to 1, and stand in the order of the pinned classes."""
    found = case.probabilities(case.model())

    assert np.isfinite(found).all()
    if case.is_number:
        _check_numbers(case, found)
        return
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert np.allclose(found.sum(axis=1), 1)
    if case.spec.modality == "text":
        return
    layout = case.recipe.layout
    assert found.shape == (case.rows.num_rows, len(layout.classes))
    assert case.model().has_probabilities == case.spec.has_probabilities(case.recipe.train)
    truth = targets(case.rows, layout)
    if case.learns:
        right = [float(np.mean((found.argmax(axis=1) + turn) % 3 == truth)) for turn in range(3)]
        assert right[0] > 0.55, right  # of three classes
        assert max(right[1:]) < 0.35, right
    if not case.model().has_probabilities:
        assert set(np.unique(found)) == {0.0, 1.0}


def check_digest(case: Case, _folder: Path) -> None:
    """A digest changes with every tensor and its name, and not with the container."""
    content, digest = case.weights(), case.spec.format.digest
    arrays = case.container.read(content)
    again = case.container.write(arrays, content)
    assert again != content
    assert digest(again) == digest(content)
    changed = [
        name
        for name, value in arrays.items()
        if value.size and value.dtype.kind in "fiu" and value.dtype.names is None
    ]
    assert changed, "a model has numbers"
    found = {digest(content)}
    for name in changed:
        value = arrays[name].copy()
        value.flat[0] += 1
        found.add(digest(case.container.write({**arrays, name: value}, content)))
    assert len(found) == 1 + len(changed)
    assert case.model().digest != replace(case.model(), weights=None).digest


_UNPICKLED: list[str] = []


def _note_unpickling(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        _UNPICKLED.append(".".join(str(part) for part in arguments))


# An audit hook stays for the life of the process; it only notes.
sys.addaudithook(_note_unpickling)


@contextmanager
def _nothing_unpickled() -> Iterator[None]:
    _UNPICKLED.clear()
    yield
    assert not _UNPICKLED


class _Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _members(content: bytes) -> Iterator[bytes]:
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())


def check_no_pickle(case: Case, folder: Path) -> None:
    """No file holds a pickle, none is loaded, and a pickle in place of one is refused."""
    files = case.files()
    for name, content in files.items():
        for member in _members(content):
            assert not member.startswith(tuple(b"\x80" + bytes([n]) for n in range(2, 6))), name
    # What importing libraries unpickles is no file of ours.
    expected = case.probabilities(case.model())
    put(folder / "model", files)
    with _nothing_unpickled():
        model = read_shard_model(folder / "model", SHARD)
        assert model.digest
        assert np.array_equal(case.probabilities(model), expected)
    evil = pickle.dumps(_Evil(folder / "ran"))
    put(folder / "model", {case.spec.file_name: evil})
    with _nothing_unpickled():
        tampered = read_shard_model(folder / "model", SHARD)
        with pytest.raises(InputError):
            _ = tampered.digest
    assert not (folder / "ran").exists()


def check_options(case: Case, _folder: Path) -> None:
    """An unknown option is refused: by the model of the options, or when it is built."""
    options = {**case.recipe.train.options, "no_such_option": 1}
    if case.spec.options is not None:
        assert case.spec.options.model_validate(case.recipe.train.options)
        with pytest.raises(ValidationError, match="no_such_option"):
            case.spec.options.model_validate(options)
        return
    train = case.recipe.train.model_copy(update={"options": options})
    with pytest.raises(InputError, match="does not take"):
        train_at_once(replace(case.sliced(), train=train), case.rows)


def check_damaged_files(case: Case, _folder: Path) -> None:
    """Weights that are cut, empty or of another format are an error that names no row."""
    content = case.weights()
    for damaged in (b"", content[: len(content) // 2], b"hello", hashlib.sha256(content).digest()):
        with pytest.raises(InputError):
            case.spec.format.digest(damaged)


CHECKS = (
    check_declaration,
    check_environment,
    check_two_fits,
    check_save_and_load,
    check_resuming,
    check_empty_shard,
    check_one_class,
    check_probabilities,
    check_digest,
    check_no_pickle,
    check_options,
    check_damaged_files,
)
