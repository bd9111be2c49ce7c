"""CIFAR-10 as `benchmarks/images.py` reads it."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.images import read_cifar


def test_a_record_is_a_class_and_the_planes_of_red_green_and_blue(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    planes = draw.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    classes = [3, 0, 9, 3, 1]
    records = [bytes([label]) + each.tobytes() for label, each in zip(classes, planes, strict=True)]
    (tmp_path / "data_batch_1.bin").write_bytes(b"".join(records[:2]))
    (tmp_path / "data_batch_2.bin").write_bytes(b"".join(records[2:4]))
    (tmp_path / "test_batch.bin").write_bytes(records[4])

    pixels, labels = read_cifar(tmp_path)

    np.testing.assert_array_equal(pixels, planes)
    assert labels == ["cat", "airplane", "truck", "cat", "automobile"]


def test_pickles_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"a pickle")
    with pytest.raises(SystemExit, match="take the binary version of CIFAR-10"):
        read_cifar(tmp_path)
