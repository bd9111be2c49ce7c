"""Pictures that only erased rows name are deleted, and no other file anywhere."""

import csv
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from unlearn.stages.context import Context
from unlearn.stages.erasure.dataset.preview import listed_pictures
from unlearn.stages.erasure.dataset.rewrite import rewrite_dataset
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project

from tests.file_faults import Killed, fault_at
from tests.stages.conftest import KEY, make_params, put_on_list, token_of

FOLDER = "data/dataset"
COLUMNS = ("id", "person", "photo", "label")


def png(path: Path, number: int) -> None:
    """Write a picture of 4 x 4 pixels that is of this number alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "png")


def table(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Write a table of labels: id, person and picture of each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((*row, f"c{number % 3}") for number, row in enumerate(rows))


def project(root: Path, *, path: str = FOLDER, held_out: str | None = None) -> Context:
    """Return a project with pictures, and a forget list that is empty."""
    features = {"photo": {"kind": "image", "shape": [3, 4, 4]}}
    train = {"model": "net.py:build", "device": "cpu"}
    params = make_params(subject="person", path=path, features=features, train=train)
    dataset = params.dataset.model_copy(update={"held_out": held_out})
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "data/forget_list.txt").write_bytes(b"")
    return Context(Project(root), params.model_copy(update={"dataset": dataset}), KEY)


def pictures(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*.png")}


def simple(root: Path) -> Context:
    """Return a project of four people with two pictures each, and one that two share."""
    context = project(root)
    rows = [(f"r{n}", f"p{n // 2}", f"p{n // 2}/{n}.png") for n in range(8)]
    rows += [("r8", "p0", "shared.png"), ("r9", "p1", "shared.png")]
    for number, (_, _, name) in enumerate(rows):
        png(root / FOLDER / name, number)
    table(root / FOLDER / "labels.csv", rows)
    return context


def test_the_pictures_of_a_person_go_and_shared_ones_stay(tmp_path: Path) -> None:
    context = simple(tmp_path)
    folder = tmp_path / FOLDER
    (folder / "p0/._0.png").write_bytes(b"what macOS writes: a preview")
    before = pictures(folder)
    put_on_list(context, token_of("p0", "subject"))
    assert listed_pictures(context, context.read_list()) == 2
    assert pictures(folder) == before

    rewritten = rewrite_dataset(context)

    assert (rewritten.pictures, rewritten.dropped) == (2, 3)
    assert pictures(folder) == before - {"p0/0.png", "p0/1.png", "p0/._0.png"}
    # The name of a folder can be a person's id.
    assert not (folder / "p0").exists()

    put_on_list(context, token_of("p1", "subject"))
    assert rewrite_dataset(context).pictures == 3
    assert not (folder / "shared.png").exists()
    assert rewrite_dataset(context).pictures == 0


names = st.sampled_from(["a.png", "b.png", "x/a.png", "x/b.png", "x/y/a.png", "./a.png", "c.png"])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    tables=st.lists(st.lists(names, min_size=1, max_size=6), min_size=1, max_size=3),
    held_out=st.lists(names, max_size=4),
    listed=st.sets(st.integers(0, 21)),
)
def test_a_picture_stays_exactly_as_long_as_a_row_names_it(
    tables: list[list[str]], held_out: list[str], listed: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as top:
        root = Path(top).resolve()
        context = project(root, held_out=f"{FOLDER}.csv" if held_out else None)
        named: list[tuple[str, Path]] = []
        number = 0
        for place, found in enumerate([*tables, held_out]):
            rows = []
            is_held_out = place == len(tables)
            base = root / "data" if is_held_out else root / FOLDER
            for name in found:
                rows.append((f"r{number}", "nobody", name))
                named.append((f"r{number}", base / name))
                png(base / name, number)
                number += 1
            if rows:
                table(root / f"{FOLDER}.csv" if is_held_out else base / f"{place}.csv", rows)
        listed &= set(range(number))
        if {number for number, (_, path) in enumerate(named) if FOLDER in str(path)} <= listed:
            return  # no row would be left
        put_on_list(context, *(token_of(f"r{row}") for row in listed))
        stay = {path for row, (_, path) in enumerate(named) if row not in listed}

        rewrite_dataset(context)

        assert set((root / "data").rglob("*.png")) == {
            Path(os.path.normpath(path)) for path in stay
        }
        assert all(any(folder.iterdir()) for folder in (root / FOLDER).rglob("*/"))


@pytest.mark.parametrize("name", ["../other.png", "x/../../other.png", "{root}/data/other.png"])
def test_nothing_is_deleted_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    context = project(tmp_path)
    png(tmp_path / "data/other.png", 1)
    png(tmp_path / FOLDER / "a.png", 2)
    rows = [("r0", "p0", "a.png"), ("r1", "p1", name.format(root=tmp_path)), ("r2", "p2", "a.png")]
    table(tmp_path / FOLDER / "labels.csv", rows)
    content = (tmp_path / FOLDER / "labels.csv").read_bytes()
    put_on_list(context, token_of("r1"))

    with pytest.raises(InputError, match="labels.csv: column 'photo', data row 2: the picture is"):
        rewrite_dataset(context)

    assert (tmp_path / "data/other.png").exists()
    assert (tmp_path / FOLDER / "labels.csv").read_bytes() == content
    # The row of another person is not what this is about: nothing is deleted for it.
    (tmp_path / "data/forget_list.txt").write_bytes(b"")
    put_on_list(context, token_of("r0"))
    assert rewrite_dataset(context).pictures == 0


def test_a_table_beside_its_pictures_reads_through_no_link(tmp_path: Path) -> None:
    context = project(tmp_path, path="data/labels.csv")
    elsewhere = tmp_path / "elsewhere"
    png(elsewhere / "a.png", 1)
    png(tmp_path / "data/b.png", 2)
    (tmp_path / "data/x").symlink_to(elsewhere)
    table(tmp_path / "data/labels.csv", [("r0", "p", "x/a.png"), ("r1", "q", "b.png")])

    for listed in ("r0", "r1"):
        (tmp_path / "data/forget_list.txt").write_bytes(b"")
        put_on_list(context, token_of(listed))
        with pytest.raises(InputError, match="symbolic link"):
            rewrite_dataset(context)

    assert pictures(elsewhere) == {"a.png"}
    assert (tmp_path / "data/b.png").exists()


def test_a_link_to_the_cache_goes_and_another_link_is_refused(tmp_path: Path) -> None:
    context = simple(tmp_path)
    folder = tmp_path / FOLDER
    (tmp_path / ".dvc").mkdir()
    target = tmp_path / ".dvc/cache/files/md5/0a" / ("b" * 30)
    target.parent.mkdir(parents=True)
    (folder / "p0/0.png").rename(target)
    (folder / "p0/0.png").symlink_to(target)
    put_on_list(context, token_of("r0"))

    assert rewrite_dataset(context).pictures == 1
    assert target.exists()  # objects are the next step's

    (folder / "p3/7.png").rename(tmp_path / "mine.png")
    (folder / "p3/7.png").symlink_to(tmp_path / "mine.png")
    put_on_list(context, token_of("r7"))
    with pytest.raises(InputError, match="symbolic link|is a link"):
        rewrite_dataset(context)
    assert (tmp_path / "mine.png").exists()


def test_a_table_apart_from_its_pictures_is_refused_where_dvc_tracks_it_alone(
    tmp_path: Path,
) -> None:
    context = project(tmp_path, path="data/labels.csv")
    png(tmp_path / "data/photos/a.png", 1)
    png(tmp_path / "data/photos/b.png", 2)
    table(tmp_path / "data/labels.csv", [("r0", "p", "photos/a.png"), ("r1", "q", "photos/b.png")])
    put_on_list(context, token_of("r0"))
    (tmp_path / "data/labels.csv.dvc").write_text("outs: []\n")

    with pytest.raises(InputError, match="has pictures in other folders"):
        rewrite_dataset(context)
    assert pictures(tmp_path / "data") == {"photos/a.png", "photos/b.png"}

    (tmp_path / "data/labels.csv.dvc").unlink()
    assert rewrite_dataset(context).pictures == 1


def test_paths_in_structs_and_dictionaries_count_and_data_uris_do_not(tmp_path: Path) -> None:
    context = project(tmp_path)
    folder = tmp_path / FOLDER
    for number, name in enumerate("abcd"):
        png(folder / f"{name}.png", number)
    content = (folder / "a.png").read_bytes()
    photos = [
        {"bytes": None, "path": "a.png"},
        {"bytes": content, "path": "b.png"},  # its name only
        {"bytes": None, "path": "c.png"},
    ]
    rows = {"id": ["r0", "r1", "r2"], "person": ["p", "p", "p"], "label": ["c0", "c1", "c2"]}
    pq.write_table(pa.table({**rows, "photo": photos}), folder / "a.parquet")
    texts = pa.array(["c.png", "d.png", "DATA:image/png;base64,d.png"]).dictionary_encode()
    other = {**rows, "id": ["r3", "r4", "r5"], "photo": texts}
    pq.write_table(pa.table(other), folder / "b.parquet")
    put_on_list(context, *(token_of(f"r{row}") for row in (0, 1, 2, 4, 5)))

    assert rewrite_dataset(context).pictures == 2

    # r3 stays and names c.png; nobody names b.png.
    assert pictures(folder) == {"b.png", "c.png"}


def test_a_folder_in_the_place_of_a_picture_is_refused(tmp_path: Path) -> None:
    context = simple(tmp_path)
    (tmp_path / FOLDER / "p0/0.png").unlink()
    png(tmp_path / FOLDER / "p0/0.png/inner.png", 1)
    put_on_list(context, token_of("r0"))

    with pytest.raises(InputError, match="p0/0.png is no PNG or JPEG"):
        rewrite_dataset(context)

    assert (tmp_path / FOLDER / "p0/0.png/inner.png").exists()


@pytest.mark.parametrize("name", ["labels.csv", ".unlearn-nonce", "p1/2.txt"])
def test_a_row_that_names_another_file_does_not_delete_it(tmp_path: Path, name: str) -> None:
    context = simple(tmp_path)
    path = tmp_path / FOLDER / name
    if not path.exists():
        path.write_text("something else")
    if name.endswith("txt"):
        path.rename(path.with_name("README.md"))
        name = "p1/README.md"
    with (tmp_path / FOLDER / "labels.csv").open("a") as file:
        file.write(f"r99,p9,{name},c0\r\n")
    put_on_list(context, token_of("r99"))

    with pytest.raises(InputError, match="is no PNG or JPEG by its name"):
        rewrite_dataset(context)

    assert (tmp_path / FOLDER / name).exists()


def test_after_a_kill_at_any_file_operation_a_second_call_does_the_rest(tmp_path: Path) -> None:
    source = simple(tmp_path / "source")
    put_on_list(source, token_of("p0", "subject"), token_of("r9"), token_of("r5"))

    def copy(name: str) -> Context:
        shutil.copytree(tmp_path / "source", tmp_path / name)
        return Context(Project(tmp_path / name), source.params, KEY)

    def left(context: Context) -> dict[str, bytes]:
        folder = context.project.root / FOLDER
        return {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}

    unhurt = copy("unhurt")
    with fault_at(10_000, tmp_path, "kill") as seen:
        rewrite_dataset(unhurt)
    assert seen.count > 8
    for number in range(1, seen.count + 1):
        hurt = copy(f"hurt{number}")
        try:
            with fault_at(number, tmp_path, "kill"):
                rewrite_dataset(hurt)
        except Killed:
            pass
        rewrite_dataset(hurt)
        assert left(hurt) == left(unhurt), f"operation {number}"
        folders = {path.name for path in (hurt.project.root / FOLDER).rglob("*/")}
        assert folders == {"p1", "p2", "p3"}, f"operation {number}"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
