"""skops files: bytes that follow from the model, and nothing in them that runs."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skops
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from skops.io._protocol import PROTOCOL
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.formats import SKOPS
from unlearn.stages.estimators.skops_file import dump, load

_draw = np.random.default_rng(0)
INPUTS: npt.NDArray[np.float64] = _draw.normal(size=(60, 4))
TARGETS: npt.NDArray[np.int64] = _draw.integers(0, 3, 60)

CLASSIFIERS: list[Any] = [
    GaussianNB(),
    LogisticRegression(),
    SGDClassifier(loss="log_loss", random_state=0),
    MLPClassifier([4], max_iter=3, random_state=0),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(3, random_state=0),
    HistGradientBoostingClassifier(max_iter=2, random_state=0),
    KNeighborsClassifier(3),
    SVC(),
]


def name_of(model: object) -> str:
    return type(model).__name__


def fitted(model: Any) -> Any:
    """Return a fresh fitted clone, among objects that shift the addresses of its parts."""
    from sklearn.base import clone

    return clone(model).fit(INPUTS, TARGETS)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", CLASSIFIERS, ids=name_of)
def test_two_dumps_of_one_model_are_equal_and_loadable(model: Any) -> None:
    one = dump(fitted(model))
    shifted = [bytearray(number) for number in range(2000)]
    other = dump(fitted(model))
    del shifted

    assert one == other
    again = load(one)
    assert type(again) is type(model)
    assert np.array_equal(again.predict(INPUTS), fitted(model).predict(INPUTS))


@pytest.mark.parametrize("model", CLASSIFIERS[:1] + CLASSIFIERS[5:6], ids=name_of)
def test_skops_itself_reads_the_file(model: Any) -> None:
    content = dump(fitted(model))
    types = skops.io.get_untrusted_types(data=content)

    again = skops.io.loads(content, trusted=types)
    assert np.array_equal(again.predict(INPUTS), fitted(model).predict(INPUTS))


@pytest.mark.parametrize("model", CLASSIFIERS, ids=name_of)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_digest_of_a_file_is_always_the_same(model: Any) -> None:
    """A tree's nodes have padding between their fields, whose bytes in memory mean nothing."""
    content = dump(fitted(model))
    digests = set()
    for number in range(8):
        litter = [np.full(size, number + 1, np.uint8) for size in range(64, 8192, 64)]
        del litter  # what is allocated next finds these bytes
        digests.add(SKOPS.digest(content))

    assert len(digests) == 1


def test_digests_tell_models_apart() -> None:
    models = [GaussianNB().fit(INPUTS, TARGETS), GaussianNB().fit(INPUTS * 2, TARGETS)]
    models.append(GaussianNB(var_smoothing=1e-8).fit(INPUTS, TARGETS))

    assert len({SKOPS.digest(dump(model)) for model in models}) == 3


def test_a_digest_is_of_the_content_and_not_of_the_container() -> None:
    content = dump(fitted(GaussianNB()))
    repacked = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(repacked, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name))

    assert repacked.getvalue() != content
    assert SKOPS.digest(repacked.getvalue()) == SKOPS.digest(content)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("read", [load, SKOPS.digest])
def test_a_pickle_is_refused_and_never_loaded(tmp_path: Path, read: Any) -> None:
    trace = tmp_path / "trace"
    for content in (pickle.dumps(Trap(trace)), pickle.dumps(fitted(GaussianNB()))):
        with pytest.raises(InputError, match="not in the skops format"):
            read(content)

    assert not trace.exists()


@pytest.mark.parametrize("read", [load, SKOPS.digest])
def test_an_array_of_pickles_is_refused_and_never_loaded(tmp_path: Path, read: Any) -> None:
    trace = tmp_path / "trace"
    content = dump(fitted(GaussianNB()))
    array = np.empty(1, dtype=object)
    array[0] = Trap(trace)
    held = io.BytesIO()
    np.save(held, array, allow_pickle=True)
    changed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(changed, "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, held.getvalue() if name.endswith(".npy") else old.read(name))

    with pytest.raises(InputError, match="not in the skops format"):
        read(changed.getvalue())
    assert not trace.exists()


def node(loader: str, module: str, name: str, **more: Any) -> dict[str, Any]:
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def text(value: object) -> dict[str, Any]:
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


def skops_content(schema: dict[str, Any]) -> bytes:
    """Return a skops file, as someone would write it by hand who means harm."""
    held = io.BytesIO()
    schema = schema | {"protocol": PROTOCOL, "_skops_version": skops.__version__}
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    return held.getvalue()


def call(module: str, name: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a node that, once loaded, calls a function with arguments."""
    content = node("TupleNode", "builtins", "tuple", content=list(arguments))
    return node("ConstructorFromReduceNode", module, name, content=content)


EMPTY_DICT = node(
    "DictNode",
    "builtins",
    "dict",
    content={},
    key_types=node("ListNode", "builtins", "list", content=[]),
)


def test_a_file_cannot_make_a_trusted_package_run_code(tmp_path: Path) -> None:
    """numpy's own `runstring(text, names)` is `exec`."""
    trace = tmp_path / "trace"
    code = text(f"open({str(trace)!r}, 'w').close()")
    content = skops_content(call("numpy.testing._private.utils", "runstring", code, EMPTY_DICT))

    with pytest.raises(InputError):
        load(content)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name", "more"),
    [
        ("numpy", "memmap", ("uint8", "w+", 0, 8)),
        # scikit-learn's modules hold other packages' classes too.
        ("sklearn.datasets._covtype", "GzipFile", ("wb",)),
        ("sklearn.externals.array_api_compat.torch", "PyTorchFileWriter", ()),
    ],
)
def test_a_file_cannot_make_a_trusted_package_write_a_file(
    tmp_path: Path, module: str, name: str, more: tuple[object, ...]
) -> None:
    trace = tmp_path / "trace"
    content = skops_content(call(module, name, text(str(trace)), *map(text, more)))

    with pytest.raises(InputError):
        load(content)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("pathlib", "Path.touch")]
)
def test_types_from_elsewhere_are_refused_by_name(module: str, name: str) -> None:
    with pytest.raises(InputError, match="holds a type that is not trusted") as caught:
        load(skops_content(call(module, name, text("true"))))

    assert name in caught.value.message


class Foreign(ClassifierMixin):  # type: ignore[misc]  # scikit-learn ships no types
    """A class of a user's own, such as a file from elsewhere might name."""


def test_a_model_from_elsewhere_is_refused() -> None:
    with pytest.raises(InputError, match="holds a type that is not trusted"):
        load(skops.io.dumps(Foreign()))


GAUSSIAN = ("ObjectNode", "sklearn.naive_bayes", "GaussianNB")


@pytest.mark.parametrize(
    "schema",
    [
        "[]",
        "3",
        "null",
        "{}",
        "{",
        "[" * 100_000,
        node("NoSuchNode", "sklearn.naive_bayes", "GaussianNB"),
        node("ObjectNode", "sklearn.nothing_here", "GaussianNB"),
        node("ObjectNode", "sklearn.naive_bayes", "NothingHere"),
        node(*GAUSSIAN, content=text(3)),
        node("NdArrayNode", "numpy", "ndarray", type="numpy", file="missing.npy"),
        node("JsonNode", "builtins", "str", content="{", is_json=True),
        {"__class__": 3, "__module__": 4, "__loader__": "ObjectNode"},
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_a_schema_that_describes_no_model_is_refused(schema: str | dict[str, Any]) -> None:
    if isinstance(schema, dict):
        content = skops_content(schema)
    else:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr("schema.json", schema)
        content = held.getvalue()

    with pytest.raises(InputError, match="not in the skops format|is not trusted"):
        load(content)


WHOLE = dump(fitted(GaussianNB()))


def with_entry_byte(offset: int, value: int) -> bytes:
    """Return WHOLE with a byte changed in the zip directory's first entry."""
    changed = bytearray(WHOLE)
    changed[WHOLE.index(b"PK\x01\x02") + offset] = value
    return bytes(changed)


BROKEN = {
    "empty": b"",
    "two letters": b"PK",
    "no directory": WHOLE[:-30],
    "no beginning": WHOLE[50:],
    "pickle": b"\x80\x04N.",
    "unknown compression": with_entry_byte(10, 77),
    "encrypted": with_entry_byte(8, 1),
    "newer zip": with_entry_byte(6, 200),
}


@pytest.mark.parametrize("read", [load, SKOPS.digest])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_skops_file_is_refused(read: Any, content: bytes) -> None:
    with pytest.raises(InputError, match="not in the skops format"):
        read(content)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))

    for read in (load, SKOPS.digest):
        try:
            read(bytes(damaged))
        except InputError as error:
            assert error.exit_code == 2
