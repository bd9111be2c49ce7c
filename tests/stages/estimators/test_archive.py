"""Archives that unpack to far more than they are."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import archive
from unlearn.stages.estimators.archive import check_sizes, unpacked
from unlearn.stages.estimators.formats import SKOPS
from unlearn.stages.estimators.skops_file import load

MEGABYTE = 1 << 20


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return out.getvalue()


def zeros(megabytes: int) -> bytes:
    """Return an archive of as many megabytes of zeros, a thousandth of them itself."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
        target.open("schema.json", "w", force_zip64=True) as member,
    ):
        for _ in range(megabytes):
            member.write(bytes(MEGABYTE))
    return out.getvalue()


def sparse(megabytes: int) -> bytes:
    """Return an archive of a sparse matrix, which is an archive of its own."""
    held = io.BytesIO()
    matrix = scipy.sparse.csr_matrix(np.zeros((1, 1)))
    matrix.indptr = np.zeros(megabytes * MEGABYTE // 4, np.int32)
    np.savez_compressed(held, indptr=matrix.indptr)
    return packed({"schema.json": b"{}", "1.npz": held.getvalue()}, zipfile.ZIP_STORED)


def overlapping(megabytes: int) -> bytes:
    """Return an archive whose members are all the same bytes of it."""
    content = packed({"a": bytes(MEGABYTE)}, zipfile.ZIP_STORED)
    at = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    directory = content[at:end] * megabytes
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, megabytes, megabytes, len(directory), at, 0)
    return content[:at] + directory + tail


@pytest.mark.slow
@pytest.mark.parametrize("make", [zeros, sparse, overlapping])
@pytest.mark.parametrize("read", [load, SKOPS.digest])
def test_what_unpacks_to_much_more_than_it_is_is_refused_unread(
    make: Callable[[int], bytes], read: Callable[[bytes], object]
) -> None:
    content = make(300)
    tracemalloc.start()
    with pytest.raises(InputError, match="unpacks to 3[0-9][0-9] MB: it was not unpacked"):
        read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 3 * len(content) + 8 * MEGABYTE


def test_a_header_that_names_less_than_there_is_does_not_help() -> None:
    content = bytearray(zeros(64))
    size = struct.pack("<L", 64 * MEGABYTE)
    # In the directory, and in the header before the member.
    for _ in range(content.count(size)):
        at = content.index(size)
        content[at : at + 4] = struct.pack("<L", 10)
    tracemalloc.start()
    with pytest.raises(InputError, match="not in the skops format"):
        load(bytes(content))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 16 * MEGABYTE


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    members = {str(number): b"" for number in range(4)}

    unpacked(packed(dict(list(members.items())[:3])))
    with pytest.raises(InputError, match="an archive of more than 3 members"):
        unpacked(packed(members))
    with pytest.raises(InputError, match=r"^weights.pt is an archive of more than 3 members"):
        check_sizes(packed(members), "weights.pt")


def test_compressed_members_come_out_as_they_went_in() -> None:
    members = {"schema.json": b"{}", "1.npy": bytes(3 * MEGABYTE), "2": b""}
    content = packed(members)

    with zipfile.ZipFile(io.BytesIO(unpacked(content))) as found:
        assert {name: found.read(name) for name in found.namelist()} == members
    assert unpacked(packed(members, zipfile.ZIP_STORED)) == packed(members, zipfile.ZIP_STORED)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x03\x04" + bytes(100), b"x" * 100])
def test_what_is_no_archive_is_left_to_its_reader(content: bytes) -> None:
    check_sizes(content)
