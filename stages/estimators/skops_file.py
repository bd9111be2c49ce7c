"""skops files whose bytes follow from the model alone.

skops names members by memory address and zip stamps the time, so two dumps of one model differ.
Here names are numbers in the order of appearance and the stamp is fixed; the file stays one that
`skops.io.loads` reads.
"""

import importlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.archive import unpacked
from unlearn.stages.estimators.tensors import NamedTensor
from unlearn.stages.project.files import canonical_json

_SCHEMA = "schema.json"
_STAMP = (1980, 1, 1, 0, 0, 0)

#: What scikit-learn's estimators count in training and do not read to answer: steps over rows of
#: SGD and perceptrons, and rows of forests, bagging, scalers and principal components.
_COUNTS = frozenset(
    {"t_", "_n_samples", "_n_samples_bootstrap", "_max_samples", "n_samples_", "n_samples_seen_"}
)

#: Beside skops' own list, a file may name classes of this package: parts of its estimators. Not
#: its functions, and nothing of numpy or scipy, which hold some that run code or write files.
_TRUSTED_PACKAGE = "sklearn."

#: Classes of this package that a file has named: most models of a project are of the same ones.
_trusted: set[str] = set()


def _nothing(_name: str) -> bool:
    return False


def dump(estimator: Any, *, ordered: bool = False) -> bytes:
    """Return a fitted scikit-learn estimator as a skops file with canonical names.

    Parameters
    ----------
    estimator
        The estimator.
    ordered
        Whether dictionaries keep their order. Those of scikit-learn's classifiers need not, and
        their files have sorted keys.
    """
    # It loads scikit-learn, which who reads only numbers does not need.
    from unlearn.stages.estimators.skops_library import skops_io

    with zipfile.ZipFile(io.BytesIO(skops_io.dumps(estimator))) as archive:
        schema = json.loads(archive.read(_SCHEMA))
        renamed = _Renamer().tree(schema)
        members = {
            renamed.files[name]: _without_padding(archive.read(name))
            for name in archive.namelist()
            if name in renamed.files
        }
    members[_SCHEMA] = _as_text(renamed.schema) if ordered else canonical_json(renamed.schema)
    return _zipped(members)


def without_counts(content: bytes) -> bytes:
    """Return a file that `dump` wrote, with 0 for counts of rows and steps that training left.

    Only training reads these attributes; see `_COUNTS`.

    Raises
    ------
    InputError
        If the content is not in the skops format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(unpacked(content))) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        schema = json.loads(members[_SCHEMA])
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - a damaged file makes zipfile and json raise anything
        raise InputError("a model file is not in the skops format") from None
    for file in _clear_counts(schema):
        zeros = io.BytesIO()
        np.save(zeros, np.zeros_like(_read_array(members[file])), allow_pickle=False)
        members[file] = zeros.getvalue()
    return _zipped(members | {_SCHEMA: _as_text(schema)})


def _clear_counts(node: Any) -> Iterator[str]:
    """Set counts in a schema to 0, and yield the files of those that are arrays."""
    if isinstance(node, list):
        for item in node:
            yield from _clear_counts(item)
    elif isinstance(node, dict):
        # `t` alone could be anything: it is the number of steps where Adam's settings are, too.
        names = _COUNTS | {"t"} if "beta_1" in node else _COUNTS
        for name, value in node.items():
            loader = value.get("__loader__") if name in names and isinstance(value, dict) else None
            if loader == "JsonNode" and value["content"] != "null":
                value["content"] = "0"
            elif loader == "NdArrayNode" and value["type"] == "numpy":
                yield value["file"]
            else:
                yield from _clear_counts(value)


def _zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _STAMP), members[name])
    return out.getvalue()


def _as_text(schema: Any) -> bytes:
    return json.dumps(schema, separators=(",", ":"), allow_nan=False).encode()


class _Renamer:
    """Replaces addresses in a schema by numbers."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.schema: Any = None
        self._numbers: dict[int, int] = {}
        self._next = 0

    def tree(self, schema: Any) -> "_Renamer":
        self.schema = self._node(schema)
        return self

    def _node(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._node(item) for item in node]
        if not isinstance(node, dict):
            return node
        renamed = dict(node)
        if node.get("__loader__") == "SetNode":
            # The order of a set of texts differs from process to process.
            renamed["content"] = sorted(node["content"], key=_without_addresses)
        if "__id__" in node:
            renamed["__id__"] = self._number(node)
        if isinstance(node.get("file"), str):
            stem, dot, suffix = node["file"].partition(".")
            renamed["file"] = self.files.setdefault(
                node["file"], f"{self._numbers.get(_as_int(stem), self._fresh())}{dot}{suffix}"
            )
        return {
            key: value if key in ("__id__", "file") else self._node(value)
            for key, value in renamed.items()
        }

    def _number(self, node: dict[str, Any]) -> int:
        # Python shares equal constants by chance; a shared scalar means nothing.
        if node.get("__loader__") == "JsonNode":
            return self._fresh()
        if node["__id__"] not in self._numbers:
            self._numbers[node["__id__"]] = self._fresh()
        return self._numbers[node["__id__"]]

    def _fresh(self) -> int:
        self._next += 1
        return self._next


def _without_addresses(node: Any) -> str:
    """Return what a node of a schema says, as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {key: plain(item) for key, item in value.items() if key not in ("__id__", "file")}

    return json.dumps(plain(node), sort_keys=True)


def _as_int(text: str) -> int:
    return int(text) if text.isdigit() else -1


def _without_padding(content: bytes) -> bytes:
    """Return a member with zeros between the fields of records, where memory holds anything."""
    array = _read_array(content)
    if array is None or array.dtype.names is None:
        return content
    out = io.BytesIO()
    np.save(out, _zero_padded(array), allow_pickle=False)
    return out.getvalue()


def _read_array(content: bytes) -> npt.NDArray[Any] | None:
    """Return a member's array; None if it holds something else."""
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        return None
    array: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def _zero_padded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names or ():
        clean[name] = array[name]
    return clean


def load(content: bytes, trusted: Callable[[str], bool] = _nothing) -> Any:
    """Return the estimator in a skops file.

    Parameters
    ----------
    content
        The file.
    trusted
        Tells for the full name of a type of another package than scikit-learn whether the file may
        hold it.

    Raises
    ------
    InputError
        If `content` is something else, such as a pickle, names types that scikit-learn's estimators
        are not made of and that are not trusted, or unpacks to far more than its own size.
    """
    from unlearn.stages.estimators.skops_library import skops_io

    try:
        content = unpacked(content)
        try:
            return skops_io.loads(content, trusted=sorted(_trusted))
        except skops_io.exceptions.UntrustedTypesFoundException:
            found = skops_io.get_untrusted_types(data=content)
        own = [name for name in found if _is_sklearn_class(name)]
        foreign = [name for name in found if name not in own and not trusted(name)]
        if not foreign:
            _trusted.update(own)
            return skops_io.loads(content, trusted=found)
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - a damaged file makes skops and zipfile raise anything
        raise InputError("a model file is not in the skops format") from None
    raise InputError(f"a model file holds a type that is not trusted: {foreign[0]}")


def named_types(content: bytes) -> set[str]:
    """Return the full names of all types and functions in a file; nothing is imported.

    Raises
    ------
    InputError
        If the content is not in the skops format.
    """
    found: set[str] = set()

    def see(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                see(item)
        elif isinstance(node, dict):
            if "__module__" in node and "__class__" in node:
                found.add(f"{node['__module__']}.{node['__class__']}")
            for item in node.values():
                see(item)

    try:
        with zipfile.ZipFile(io.BytesIO(unpacked(content))) as archive:
            see(json.loads(archive.read(_SCHEMA)))
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - a damaged file makes zipfile and json raise anything
        raise InputError("a model file is not in the skops format") from None
    return found


def foreign_types(content: bytes) -> list[str]:
    """Return the types in a file that `dump` wrote which are not of scikit-learn, by full name."""
    from unlearn.stages.estimators.skops_library import skops_io

    found = skops_io.get_untrusted_types(data=content)
    return [name for name in found if not _is_sklearn_class(name)]


def _is_sklearn_class(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if not module.startswith(_TRUSTED_PACKAGE):
        return False
    found = getattr(importlib.import_module(module), attribute, None)
    # scikit-learn's modules hold classes of other packages too, some of which write files.
    return isinstance(found, type) and found.__module__.startswith(_TRUSTED_PACKAGE)


def read_members(content: bytes) -> list[NamedTensor]:
    """Return the arrays and settings in a file that `dump` wrote; see `load` for errors."""
    try:
        with zipfile.ZipFile(io.BytesIO(unpacked(content))) as archive:
            return [_member(name, archive.read(name)) for name in archive.namelist()]
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - a damaged file makes zipfile and numpy raise anything
        raise InputError("a model file is not in the skops format") from None


def _member(name: str, content: bytes) -> NamedTensor:
    array = _read_array(content)
    if array is None:
        return NamedTensor(name, "bytes", (len(content),), content)
    if array.dtype.names is not None:
        array = _zero_padded(array)
        return NamedTensor(name, str(array.dtype.descr), array.shape, array.tobytes())
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return NamedTensor(name, little.dtype.str, array.shape, little.tobytes())
