"""Downloads of DROP that are damaged."""

import base64
import hashlib
import io
import zipfile
from contextlib import suppress

import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.requests.drop_lists import read_drop

NAME = "20260312_4821_DROP.zip"


def archive(method: int, rows: int = 20) -> bytes:
    lines = [
        f"Item{number:08},{base64.b64encode(hashlib.sha256(bytes([number])).digest()).decode()}\n"
        for number in range(rows)
    ]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file:
        file.writestr("20260312_4821_Email.csv", "".join(["Id,Hash\n", *lines]))
    return target.getvalue()


def test_a_damaged_deflate_stream_is_one_clear_line() -> None:
    content = bytearray(archive(zipfile.ZIP_DEFLATED))
    start = content.index(b"Email.csv") + len(b"Email.csv")
    content[start : start + 40] = b"\xff" * 40
    with pytest.raises(InputError, match=f"{NAME} is no whole ZIP archive"):
        read_drop(bytes(content), NAME)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_no_changed_byte_is_an_error_of_another_kind(method: int) -> None:
    whole = archive(method)
    assert len(read_drop(whole, NAME).items) == 20
    for place in range(4, len(whole)):
        for value in (0x00, 0xFF, whole[place] ^ 1):
            content = whole[:place] + bytes([value]) + whole[place + 1 :]
            # A changed date, or a note that nobody reads, is no error.
            with suppress(InputError):
                read_drop(content, NAME)
