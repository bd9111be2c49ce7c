"""The shard stage on pictures and tensors: what becomes of them, and every fault is an error."""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.reading import picture_files
from unlearn.stages.rows import array_features, array_groups
from unlearn.stages.rows.arrays import column_bytes
from unlearn.stages.rows.shard_file import TARGET, read_shard, record_tokens, write_shard
from unlearn.stages.shard import spilled_rows
from unlearn.stages.shard import stage as shard_stage

from tests.stages.conftest import KEY, make_params, token_of

ROWS, HEIGHT, WIDTH = 24, 4, 5
Pixels = npt.NDArray[np.uint8]

PICTURES: Pixels = np.random.default_rng(3).integers(
    0, 256, (ROWS, HEIGHT, WIDTH, 3), np.uint8, endpoint=False
)
SPECTRA = np.random.default_rng(4).normal(size=(ROWS, 2, 3)).astype(np.float32)
IDS = [f"r{number:02d}" for number in range(ROWS)]
LABELS = [f"c{number % 3}" for number in range(ROWS)]
IMAGE = {"kind": "image", "shape": [3, HEIGHT, WIDTH]}
TENSOR = {"kind": "tensor", "shape": [2, 3]}


def png(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def context_of(
    root: Path, features: Mapping[str, Any], path: str = "data/dataset", shards: int = 3
) -> Context:
    params = make_params(shards=shards, path=path)
    dataset = params.dataset.model_dump(exclude_none=True) | {"features": dict(features)}
    own = DatasetParams.model_validate(dataset)
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "data/forget_list.txt").write_bytes(b"")
    return Context(Project(root), params.model_copy(update={"dataset": own}), KEY)


def write_folder(
    root: Path, names: list[str] | None = None, contents: list[bytes] | None = None
) -> Path:
    """Write pictures in a folder with a table that names them."""
    folder = root / "data/dataset"
    names = names or [f"pictures/{name}.png" for name in IDS]
    for name, content in zip(names, contents or list(map(png, PICTURES)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_table(folder, names)
    return folder


def write_table(folder: Path, photos: list[str]) -> None:
    lines = [f"{i},{photo},{label}" for i, photo, label in zip(IDS, photos, LABELS, strict=True)]
    text = "\n".join(["id,photo,label", *lines]) + "\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")


def shards(context: Context) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in context.project.shards.iterdir()}


def rows_of(context: Context) -> dict[str, dict[str, Any]]:
    """Return the features of every row in data/shards by id; of arrays their bytes."""
    ids = {token_of(name, "record"): name for name in IDS}
    found: dict[str, dict[str, Any]] = {}
    for path in context.project.shards.iterdir():
        rows = read_shard(path, path.name).rows
        columns = [name for name in rows.column_names if not name.startswith("unlearn.")]
        for token, values in zip(
            record_tokens(rows), rows.select([*columns, TARGET]).to_pylist(), strict=True
        ):
            found[ids[token]] = values
    return found


def test_pictures_of_a_folder_are_in_the_shards_as_pixels(tmp_path: Path) -> None:
    write_folder(tmp_path)
    context = context_of(tmp_path, {"photo": IMAGE})

    assert sum(shard_stage.run(context).values()) == ROWS

    found = rows_of(context)
    assert sorted(found) == IDS
    for name, pixels, label in zip(IDS, PICTURES, LABELS, strict=True):
        assert found[name]["photo"] == pixels.transpose(2, 0, 1).tobytes()
        assert found[name][TARGET] == label


def save_npz(folder: Path, arrays: dict[str, Any]) -> None:
    np.savez(folder / "a.npz", id=IDS, label=LABELS, **arrays)


def _struct(folder: Path) -> None:
    photo = [{"bytes": png(each), "path": "x.png"} for each in PICTURES]
    table = pa.table({"id": IDS, "photo": photo, "label": LABELS})
    pq.write_table(table, folder / "a.parquet")


def _binary(folder: Path) -> None:
    kind = pa.large_binary()
    photo = pa.array([png(each, compress_level=0) for each in PICTURES], kind)
    pq.write_table(pa.table({"id": IDS, "photo": photo, "label": LABELS}), folder / "a.parquet")


def _uris(folder: Path) -> None:
    write_table(folder, [f'"{uri(png(each))}"' for each in PICTURES])


def _npz(order: tuple[int, ...]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        photo = PICTURES.transpose(0, *order)
        np.savez_compressed(folder / "a.npz", id=IDS, photo=photo, label=LABELS)

    return write


def _lists(folder: Path) -> None:
    flat = pa.array(PICTURES.transpose(0, 3, 1, 2).ravel())
    photo = pa.FixedSizeListArray.from_arrays(flat, 3 * HEIGHT * WIDTH)
    pq.write_table(pa.table({"id": IDS, "photo": photo, "label": LABELS}), folder / "a.parquet")


def _nested(folder: Path) -> None:
    photo = pa.array(PICTURES.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8()))))
    pq.write_table(pa.table({"id": IDS, "photo": photo, "label": LABELS}), folder / "a.parquet")


def _tensors(folder: Path) -> None:
    # Stored as height, width, channels; the axes that its type names are channels first.
    storage = pa.FixedSizeListArray.from_arrays(pa.array(PICTURES.ravel()), 3 * HEIGHT * WIDTH)
    kind = pa.fixed_shape_tensor(pa.uint8(), (HEIGHT, WIDTH, 3), permutation=[2, 0, 1])
    photo = pa.ExtensionArray.from_storage(kind, storage)
    with pa.ipc.new_file(
        folder / "a.arrow", pa.schema({"id": pa.string(), "photo": kind, "label": pa.string()})
    ) as writer:
        writer.write_table(pa.table([IDS, photo, LABELS], schema=writer_schema(kind)))


def writer_schema(kind: pa.DataType) -> pa.Schema:
    return pa.schema({"id": pa.string(), "photo": kind, "label": pa.string()})


SOURCES: dict[str, Callable[[Path], None]] = {
    "structs of bytes and path": _struct,
    "bytes": _binary,
    "data URIs": _uris,
    "npz, channels last": _npz((1, 2, 3)),
    "npz, channels first": _npz((3, 1, 2)),
    "lists of one length": _lists,
    "nested lists": _nested,
    "tensors of one shape": _tensors,
}


@pytest.mark.parametrize("name", SOURCES)
def test_however_a_dataset_has_its_pictures_the_shards_are_the_same(
    tmp_path: Path, name: str
) -> None:
    write_folder(tmp_path / "files")
    files = context_of(tmp_path / "files", {"photo": IMAGE})
    shard_stage.run(files)
    other = context_of(tmp_path / "other", {"photo": IMAGE})
    folder = tmp_path / "other/data/dataset"
    folder.mkdir()

    SOURCES[name](folder)
    shard_stage.run(other)

    assert shards(other) == shards(files)


def test_several_arrays_and_numbers_together(tmp_path: Path) -> None:
    folder = tmp_path / "data/dataset"
    folder.mkdir(parents=True)
    grey = PICTURES[..., 0]
    age = np.arange(ROWS) / 2
    arrays = {"photo": PICTURES, "mask": grey, "spectrum": SPECTRA.astype(np.float64), "age": age}
    save_npz(folder, {"other": np.zeros((ROWS, 9, 9)), **arrays})
    mask = {"kind": "image", "shape": [1, HEIGHT, WIDTH]}
    features = {"spectrum": TENSOR, "age": "numeric", "photo": IMAGE, "mask": mask}
    context = context_of(tmp_path, features)

    shard_stage.run(context)

    found = rows_of(context)
    for at, name in enumerate(IDS):
        assert found[name]["spectrum"] == SPECTRA[at].astype("<f4").tobytes()
        assert found[name]["photo"] == PICTURES[at].transpose(2, 0, 1).tobytes()
        assert found[name]["mask"] == grey[at].tobytes()
        assert found[name]["age"] == at / 2


def test_the_bytes_do_not_depend_on_how_many_rows_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number, (piece, moved) in enumerate([(1 << 20, 1 << 20), (1, 1), (200, 700)]):
        write_folder(tmp_path / str(number))
        context = context_of(tmp_path / str(number), {"photo": IMAGE})
        monkeypatch.setattr(array_features, "_BYTES_AT_A_TIME", piece)
        monkeypatch.setattr(spilled_rows, "_TOGETHER", moved)
        shard_stage.run(context)
        found.append(shards(context))

    assert found[0] == found[1] == found[2]


def test_a_file_has_the_same_bytes_whether_its_rows_were_in_memory_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_groups, "_GROUP_BYTES", 4 * 3 * HEIGHT * WIDTH)
    write_folder(tmp_path)
    context = context_of(tmp_path, {"photo": IMAGE}, shards=1)
    shard_stage.run(context)
    path = context.project.shard_file("s000")
    rows = read_shard(path, "s000").rows
    assert pq.read_metadata(path).num_row_groups == -(-rows.num_rows // 4) > 2

    (tmp_path / "again").mkdir()
    write_shard(tmp_path / "again/s000.parquet", KEY, rows, context.layout)

    assert (tmp_path / "again/s000.parquet").read_bytes() == path.read_bytes()
    np.testing.assert_array_equal(
        column_bytes(rows["photo"]), column_bytes(pq.read_table(path)["photo"])
    )


def test_two_rows_may_have_one_picture(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    photos = [f"pictures/{name}.png" for name in IDS]
    (folder / photos[1]).unlink()
    write_table(folder, [photos[0], photos[0], *photos[2:]])
    context = context_of(tmp_path, {"photo": IMAGE})

    shard_stage.run(context)

    found = rows_of(context)
    assert (
        found["r00"]["photo"] == found["r01"]["photo"] == PICTURES[0].transpose(2, 0, 1).tobytes()
    )


def _replace(content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "pictures/r07.png"
        path.write_bytes(content(path.read_bytes()))

    return change


def _named(photo: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "pictures/r07.png").unlink()
        photos = [f"pictures/{name}.png" for name in IDS]
        photos[7] = photo
        write_table(folder, photos)

    return change


def _linked(folder: Path) -> None:
    path = folder / "pictures/r07.png"
    path.replace(folder.parent / "outside.png")
    path.symlink_to(folder.parent / "outside.png")


def _spare(folder: Path) -> None:
    (folder / "pictures/spare.png").write_bytes(png(PICTURES[0]))


def _same_name(folder: Path) -> None:
    (folder / "pictures/R07.png").write_bytes(png(PICTURES[7]))


def _wrong_size(_content: bytes) -> bytes:
    return png(PICTURES[7][:2])


FILE = r"data/dataset/pictures/r07\.png "
ROW = r" \(data/dataset/labels\.csv, data row 8\)"
NAMED = r"data/dataset/labels\.csv: column 'photo' "

FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "zero bytes": (_replace(lambda _: b""), f"{FILE}has no bytes{ROW}"),
    "cut short": (_replace(lambda content: content[:-20]), f"{FILE}is cut short.*{ROW}"),
    "damaged": (
        _replace(lambda content: content[:60] + b"\x00\x01\x02" + content[63:]),
        f"{FILE}is a damaged PNG.*{ROW}",
    ),
    "another format": (_replace(lambda _: png(PICTURES[7], "GIF")), f"{FILE}is a GIF.*{ROW}"),
    "text": (_replace(lambda _: b"hello"), f"{FILE}is neither PNG nor JPEG{ROW}"),
    "another size": (
        _replace(_wrong_size),
        f"{FILE}is 5 pixels wide and 2 high, not 5 and 4.*{ROW}",
    ),
    "giant": (
        _replace(lambda c: c[:16] + b"\x00\x01\x00\x00" * 2 + c[24:]),
        f"{FILE}is a damaged PNG: a checksum is wrong{ROW}",
    ),
    "animated": (
        _replace(
            lambda _: png(PICTURES[7], save_all=True, append_images=[Image.fromarray(PICTURES[6])])
        ),
        f"{FILE}is animated{ROW}",
    ),
    "no file": (
        lambda folder: (folder / "pictures/r07.png").unlink(),
        rf"{NAMED}names a picture that is not in the folder of the dataset \(data row 8\)",
    ),
    "no row": (_spare, r"no row names data/dataset/pictures/spare\.png"),
    "upper and lower case": (
        _named("pictures/R06.PNG"),
        rf"{NAMED}names a picture that is data/dataset/pictures/r06\.png but for upper and lower",
    ),
    "two names that differ by case": (
        _same_name,
        r"data/dataset/pictures/R07\.png and data/dataset/pictures/r07\.png differ only by upper",
    ),
    "a path out of the folder": (
        _named("../dataset/pictures/r06.png"),
        rf"{NAMED}has a path that leaves the folder of the dataset \(data row 8\)",
    ),
    "an absolute path": (_named("/etc/hostname"), rf"{NAMED}has a path that leaves the folder"),
    "a backslash": (_named("pictures\\r06.png"), rf"{NAMED}names a picture that is not in"),
    "no path": (_named(""), r"'photo'.*a picture is missing|'photo' has a path that leaves"),
    "a link out of the folder": (
        _linked,
        r"data/dataset/pictures/r07\.png is a link to a file that is not in the folder",
    ),
    "a data URI that is no base64": (
        _named("data:image/png;base64.####"),
        r"the picture in column 'photo' of data row 8 is a data URI without",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_picture_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path)
    context = context_of(tmp_path, {"photo": IMAGE})
    shard_stage.run(context)
    before = shards(context)
    fault, message = FAULTS[name]
    fault(folder)

    with pytest.raises(InputError, match=message) as caught:
        shard_stage.run(context)

    assert shards(context) == before
    assert not context.project.scratch("shard").exists()
    # What a row has is not quoted: an id could stand in the wrong column.
    assert "/etc" not in caught.value.message
    assert "####" not in caught.value.message


def test_pictures_that_no_row_names_are_counted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    for number in range(5):
        (folder / f"pictures/spare{number}.jpg").write_bytes(b"")
    context = context_of(tmp_path, {"photo": IMAGE})

    with pytest.raises(InputError, match=r"spare0\.jpg, .*spare1\.jpg, .*spare2\.jpg and 2 more"):
        shard_stage.run(context)


def test_a_link_to_an_object_of_dvc_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    path = folder / "pictures/r07.png"
    target = tmp_path / f".dvc/cache/files/md5/ab/{'0' * 30}"
    target.parent.mkdir(parents=True)
    path.replace(target)
    path.symlink_to(target)
    context = context_of(tmp_path, {"photo": IMAGE})

    shard_stage.run(context)

    assert len(rows_of(context)) == ROWS


def test_pictures_of_a_dataset_without_images_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    context = context_of(tmp_path, {"photo": "categorical"})

    with pytest.raises(InputError, match=r"r00\.png is a picture, and no feature .* is an image"):
        shard_stage.run(context)


def test_pictures_of_other_sizes_are_resized_where_the_schema_says_so(tmp_path: Path) -> None:
    large = np.random.default_rng(5).integers(0, 256, (9, 9, 3), np.uint8)
    write_folder(tmp_path, contents=[png(large), *map(png, PICTURES[1:])])
    context = context_of(tmp_path, {"photo": {**IMAGE, "resize": True}})

    shard_stage.run(context)

    small = Image.fromarray(large).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    found = rows_of(context)
    assert found["r00"]["photo"] == np.asarray(small).transpose(2, 0, 1).tobytes()
    assert found["r01"]["photo"] == PICTURES[1].transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"photo": PICTURES.astype(np.int16)}, r"'photo' has pixels of type int16, and not uint8"),
        ({"photo": PICTURES[:, :2]}, r"'photo' has arrays of 2 x 5 x 3, not 3 x 4 x 5"),
        ({"spectrum": SPECTRA[:, :, :2]}, r"'spectrum' has arrays of 2 x 2, not 2 x 3"),
        (
            {"spectrum": np.where(np.arange(ROWS)[:, None, None] == 5, np.nan, SPECTRA)},
            r"'spectrum': a number is not finite, or too large for float32 \(data row 6\)",
        ),
        (
            {
                "spectrum": np.where(
                    np.arange(ROWS)[:, None, None] == 5, 1e300, SPECTRA.astype(float)
                )
            },
            r"a number is not finite, or too large for float32 \(data row 6\)",
        ),
        ({"spectrum": np.arange(ROWS)}, r"'spectrum' has type int64, which is no tensor"),
        ({"photo": np.arange(ROWS)}, r"'photo' has type int64, which is no picture"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "data/dataset"
    folder.mkdir(parents=True)
    whole = {"photo": PICTURES, "spectrum": SPECTRA} | arrays
    save_npz(folder, whole)
    context = context_of(tmp_path, {"photo": IMAGE, "spectrum": TENSOR})

    with pytest.raises(InputError, match=message):
        shard_stage.run(context)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        ([None, *map(png, PICTURES[1:])], r"'photo': a picture is missing: .*\(data row 1\)"),
        ([b"", *map(png, PICTURES[1:])], r"the picture in column 'photo' of data row 1 has no byt"),
        (
            [{"bytes": None, "path": None}] + [{"bytes": png(p), "path": ""} for p in PICTURES[1:]],
            r"'photo' has a picture without bytes and path \(data row 1\)",
        ),
        (
            [[1, 2], *[[1, 2, 3]] * (ROWS - 1)],
            r"'photo': a list has another length than in the rows before \(data row 2\)",
        ),
        ([[1, None], *[[1, 2]] * (ROWS - 1)], r"a value in a list is missing \(data row 1\)"),
    ],
)
def test_missing_values_are_refused(tmp_path: Path, photo: list[Any], message: str) -> None:
    folder = tmp_path / "data/dataset"
    folder.mkdir(parents=True)
    table = pa.table({"id": IDS, "photo": photo, "label": LABELS})
    pq.write_table(table, folder / "a.parquet")
    context = context_of(tmp_path, {"photo": IMAGE})

    with pytest.raises(InputError, match=message):
        shard_stage.run(context)


def test_a_dataset_of_one_file_may_not_name_pictures_that_dvc_does_not_track(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path)
    context = context_of(tmp_path, {"photo": IMAGE}, path="data/dataset/labels.csv")

    with pytest.raises(InputError, match=r"DVC would not see that it changed \(data row 1\)"):
        shard_stage.run(context)
    assert not any(context.project.shards.glob("*"))


def test_a_file_with_too_many_bytes_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path)
    monkeypatch.setattr(picture_files, "MOST_BYTES", 20)

    with pytest.raises(InputError, match=r"r00\.png has more than 0 MB"):
        shard_stage.run(context_of(tmp_path, {"photo": IMAGE}))


def test_permuted_axes_that_can_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data/dataset"
    folder.mkdir(parents=True)
    kind = pa.fixed_shape_tensor(pa.float32(), (2, 2, 2), permutation=[2, 0, 1])
    values = pa.array(np.arange(ROWS * 8, dtype=np.float32))
    photo = pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(values, 8))
    with pa.ipc.new_file(folder / "a.arrow", writer_schema(kind)) as writer:
        writer.write_table(pa.table([IDS, photo, LABELS], schema=writer_schema(kind)))
    context = context_of(tmp_path, {"photo": {"kind": "tensor", "shape": [2, 2, 2]}})

    with pytest.raises(InputError, match="axes are permuted, and programs differ"):
        shard_stage.run(context)
