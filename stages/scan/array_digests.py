"""Digests of forgotten pictures and arrays, by which the scan finds copies of them.

They follow from the rows. An erasure removes the rows, so it remembers the digests until nothing is
pending any more: else nobody could find a copy that was overlooked. They are keyed.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
from unlearn.stages.config.dataset import TENSOR_KINDS
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.arrays import column_bytes
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.identity import token_columns
from unlearn.stages.rows.roles import role_columns
from unlearn.stages.rows.schema import feature_columns
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, forget_mask, with_digests
from unlearn.stages.scan.array_copies import ForgottenArrays, array_digests, array_forms

_PURPOSE = "array copies"
#: Bytes of rows that are in memory at a time.
_PIECE_BYTES = 16 << 20


def forgotten_arrays(context: Context, forget_list: ForgetList) -> ForgottenArrays:
    """Return the pictures and arrays of the rows that a list names, as far as they are known.

    Those that a row which stays has as well are left out: nobody can tell whose copy it is.

    Parameters
    ----------
    context
        The project.
    forget_list
        The list.

    Raises
    ------
    InputError
        If the file of an erasure is damaged.
    """
    key = context.key.subkey(_PURPOSE)
    forms = array_forms(context.params.dataset)
    if not forms or not forget_list.known:
        return ForgottenArrays(key, forms, frozenset())
    listed, standing = _of_shards(context, forget_list, key)
    if context.project.dropped.is_file():
        # Rows of erased people that came back are in no shard.
        listed |= _of_dataset(context, forget_list, key)
    digests = {*listed, *_remembered(context.project)} - standing
    return ForgottenArrays(key, forms, frozenset(digests))


def remember_arrays(context: Context, forget_list: ForgetList) -> None:
    """Write the digests of the arrays that a list names, before the rows are erased."""
    if found := sorted(forgotten_arrays(context, forget_list).digests):
        content = json_bytes({"digests": [digest.hex() for digest in found]})
        write_bytes(context.project.array_digests, content, 0o600)


def drop_arrays(project: Project) -> None:
    """Delete what `remember_arrays` wrote: the erasure is complete."""
    project.array_digests.unlink(missing_ok=True)


def _remembered(project: Project) -> list[bytes]:
    try:
        found = json.loads(project.array_digests.read_bytes())["digests"]
        return [bytes.fromhex(digest) for digest in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(
            f".unlearn/{project.array_digests.name} is damaged: it has the digests of pictures "
            "that an erasure removes",
            "delete it: copies of these pictures are then found by their names and labels only",
        ) from None


def _of_dataset(context: Context, forget_list: ForgetList, key: bytes) -> set[bytes]:
    """Return the digests of the arrays of listed rows that the dataset's files have."""
    dataset, root = context.params.dataset, context.project.root
    arrays = _arrays(context)
    columns = [*(column for _, column in role_columns(dataset)), *arrays]
    own = dataset.model_copy(update={"features": {name: dataset.features[name] for name in arrays}})
    found = set[bytes]()
    for name in filter(None, (dataset.path, dataset.held_out)):
        try:
            pictures = PictureFolder.of_dataset(root, dataset, name)
            for batch in read_batches(root / name, name, columns, Reading.of(dataset)):
                tokens = token_columns(batch, dataset, context.tokenizer, name, 1)
                mask = forget_list.mask(tokens.records, tokens.subjects)
                rows = batch.filter(pa.array(mask, pa.bool_()))
                if rows.num_rows:
                    for column in feature_columns(rows, own, name, 1, pictures).values():
                        found.update(array_digests(key, column_bytes(column)))
        except InputError:
            continue  # other commands say what is wrong with it
    return found - {b""}


def _arrays(context: Context) -> list[str]:
    features = context.params.dataset.features
    return [name for name, kind in features.items() if kind in TENSOR_KINDS]


def _of_shards(
    context: Context, forget_list: ForgetList, key: bytes
) -> tuple[set[bytes], set[bytes]]:
    """Return the digests of the arrays of listed rows, and of all others, that shards have."""
    arrays = _arrays(context)
    size = sum(context.layout.type_of(name).byte_width for name in arrays)
    listed, standing = set[bytes](), set[bytes]()
    for path in sorted(context.project.shards.glob("*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                names = [name for name in (RECORD, SUBJECT) if name in file.schema_arrow.names]
                batches = file.iter_batches(
                    batch_size=max(1, _PIECE_BYTES // size), columns=[*names, *arrays]
                )
                for batch in batches:
                    rows = with_digests(pa.Table.from_batches([batch]))
                    mask = forget_mask(rows, forget_list).to_pylist()
                    for name in arrays:
                        found = array_digests(key, column_bytes(rows[name]))
                        for digest, is_listed in zip(found, mask, strict=True):
                            (listed if is_listed else standing).add(digest)
        except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError):
            continue  # other commands say what is wrong with it
    return listed - {b""}, standing
