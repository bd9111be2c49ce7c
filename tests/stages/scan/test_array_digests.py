"""Which pictures the scan searches for: those of listed rows, until their erasure is complete."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.scan.array_copies import array_digests
from unlearn.stages.scan.array_digests import drop_arrays, forgotten_arrays, remember_arrays
from unlearn.stages.shard import stage as shard_stage

from tests.stages.conftest import put_on_list, token_of
from tests.stages.erasure.test_picture_files import FOLDER, simple


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Return a project of pictures with shards; those of r2 and r7 are the same picture."""
    context = simple(tmp_path)
    shutil.copyfile(tmp_path / FOLDER / "p3/7.png", tmp_path / FOLDER / "p1/2.png")
    shard_stage.run(context)
    return context


def found(context: Context) -> set[bytes]:
    return set(forgotten_arrays(context, context.read_list()).digests)


def of_picture(context: Context, name: str) -> bytes:
    pixels = np.asarray(Image.open(context.project.root / FOLDER / name))
    rows = np.moveaxis(pixels, -1, 0).reshape(1, -1)
    return array_digests(forgotten_arrays(context, context.read_list()).key, rows)[0]


def test_pictures_that_a_row_which_stays_has_are_not_searched_for(context: Context) -> None:
    assert found(context) == set()

    put_on_list(context, token_of("p1", "subject"))
    # r3 alone: r2 has the picture of r7, and r9 shares a file with r8.
    assert found(context) == {of_picture(context, "p1/3.png")}

    put_on_list(context, token_of("r7"), token_of("r8"))
    assert found(context) == {
        of_picture(context, name) for name in ("p1/3.png", "p1/2.png", "shared.png")
    }


def test_they_are_remembered_while_rows_go_and_no_longer(context: Context) -> None:
    put_on_list(context, token_of("r0"))
    before = found(context)
    remember_arrays(context, context.read_list())
    path = context.project.array_digests
    assert path.stat().st_mode & 0o077 == 0
    shutil.rmtree(context.project.shards)

    assert found(context) == before != set()

    path.write_bytes(b"{}")
    with pytest.raises(InputError, match=r"array_digests\.json is damaged"):
        found(context)
    drop_arrays(context.project)
    assert found(context) == set()


def test_pictures_that_came_back_are_searched_for_though_no_shard_has_them(
    context: Context,
) -> None:
    put_on_list(context, token_of("r0"))
    before = found(context)
    shutil.rmtree(context.project.shards)
    context.project.shards.mkdir()

    context.project.dropped.write_text("{}")

    assert found(context) == before != set()
