"""Which files of a folder are pictures, and which of them the text of a row names."""

import base64
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.reading.dataset_files import find_files
from unlearn.stages.reading.picture_decoding import PictureError
from unlearn.stages.reading.picture_files import PictureFolder, PicturePathError

#: What is in each picture of these tests: its own name.
NAMES = ["a.png", "b/c.jpeg", "b/ä.JPG", "z z.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "d"
    for name in [*NAMES, "labels.csv", ".hidden/x.png", "b/.x.png", "README.md"]:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name, encoding="utf-8")
    (tmp_path / "outside.png").write_text("secret", encoding="utf-8")
    return path


def test_pictures_are_no_files_with_rows(folder: Path) -> None:
    found = find_files(folder, "d")

    assert found.pictures == NAMES
    assert found.rows == [folder / "labels.csv"]
    assert found.skipped == [".hidden/x.png", "README.md", "b/.x.png"]


def test_a_row_names_a_picture_by_its_path(folder: Path) -> None:
    pictures = PictureFolder.of(folder, "d")

    for name in NAMES:
        assert pictures.read(name).decode() == name
        assert pictures.read(f"./{name}").decode() == name
        assert pictures.label(name) == f"d/{name}"
    pictures.refuse_unnamed()


def test_pictures_that_nobody_named_are_told(folder: Path) -> None:
    pictures = PictureFolder.of(folder, "d")
    pictures.read("b/c.jpeg")

    with pytest.raises(InputError, match=r"no row names d/a\.png, d/b/ä\.JPG, d/z z\.png$"):
        pictures.refuse_unnamed()


def test_a_data_uri_is_its_bytes(folder: Path) -> None:
    pictures = PictureFolder.of(folder, "d")
    text = base64.b64encode(b"hello").decode()

    assert pictures.read(f"data:image/png;base64,{text}") == b"hello"
    assert pictures.read(f"DATA:image/jpeg;BASE64,{text}") == b"hello"
    for bad in ("data:image/png,hello", "data:image/png;base64,%%%", "data:"):
        with pytest.raises(PictureError, match="is a data URI"):
            pictures.read(bad)
        assert pictures.label(bad) is None


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["..", ".", "", "b", "a.png", "outside.png", "d", "~", "\x00"]))
    | st.lists(st.text(max_size=3))
)
def test_no_text_leads_out_of_the_folder(folder: Path, parts: list[str]) -> None:
    for pictures in (
        PictureFolder.of(folder, "d"),
        PictureFolder.of(folder / "labels.csv", "d/labels.csv"),
    ):
        for text in ("/".join(parts), f"{folder}/{'/'.join(parts)}", "\\".join(parts)):
            try:
                content = pictures.read(text)
            except PictureError:
                continue
            assert content.decode() != "secret"


@pytest.mark.parametrize("text", ["A.png", "b/Ä.JPG", "b/a\u0308.JPG", "B/c.jpeg"])
def test_a_name_that_differs_by_case_or_accents_is_told(folder: Path, text: str) -> None:
    with pytest.raises(PicturePathError, match="but for upper and lower case"):
        PictureFolder.of(folder, "d").read(text)


def test_an_unreadable_folder_is_named(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (folder / "b").chmod(0)
    try:
        with pytest.raises(InputError, match="d/b cannot be read"):
            find_files(folder, "d")
    finally:
        (folder / "b").chmod(0o755)


def test_links_to_folders_are_still_refused(folder: Path) -> None:
    (folder / "more.png").symlink_to(folder / "b")

    with pytest.raises(InputError, match=r"d/more\.png is a link to a folder"):
        find_files(folder, "d")


def test_a_folder_of_pictures_needs_a_table(folder: Path) -> None:
    (folder / "labels.csv").unlink()

    with pytest.raises(InputError, match="d has pictures, but no table that names them"):
        find_files(folder, "d")


def test_a_table_names_pictures_beside_it(folder: Path) -> None:
    pictures = PictureFolder.of(folder / "labels.csv", "d/labels.csv")

    assert pictures.read("b/c.jpeg") == b"b/c.jpeg"
    (folder / "a.png").rename(folder / "A.png")
    with pytest.raises(PicturePathError, match=r"names a picture whose file is called A\.png"):
        pictures.read("a.png")
    (folder / "z z.png").unlink()
    (folder / "z z.png").symlink_to(folder.parent / "outside.png")
    with pytest.raises(PicturePathError, match="through a link that leaves the folder"):
        pictures.read("z z.png")
