"""Sizes and hashes of files that tell nothing of one row.

dvc.lock is in git, and gives the size and the MD5 of every file. A size tells how long a value was;
a hash lets somebody test a guess of the one value that he does not know.
"""

import os
from typing import BinaryIO, Literal

from unlearn.stages.rows.tokens import Key

#: Sizes are multiples of this (bytes).
BLOCK = 4096

#: Bits of keyed white space: as many as nobody can try.
_BITS = 256

_PARQUET_END = b"PAR1"


def blocks(size: int) -> int:
    """Return the smallest multiple of `BLOCK` that holds `size` bytes."""
    return -(-size // BLOCK) * BLOCK


def padded_text(content: bytes, key: Key, kind: Literal["json", "csv"]) -> bytes:
    """Return a text with white space at its end that readers ignore.

    The size is a multiple of `BLOCK`, and the white space depends on the project key and the
    content, so that without the key nobody can compute the hash of a text that he guesses.

    Parameters
    ----------
    content
        JSON or CSV that ends with a line break.
    key
        The project key.
    kind
        `json`: spaces and tabs; `csv`: empty lines, which end in one of two ways.
    """
    # Two bytes for each bit, one way or the other.
    ways, filler = ((b" \t", b"\t "), b" ") if kind == "json" else ((b"\n\n", b"\r\n"), b"\n")
    digest = key.digest("padding", content)
    bits = (digest[number // 8] >> (number % 8) & 1 for number in range(_BITS))
    text = content + b"".join(ways[bit] for bit in bits)
    return text + filler * (blocks(len(text) + 1) - len(text) - 1) + b"\n"


def pad_parquet(file: BinaryIO) -> None:
    """Make the size of a Parquet file a multiple of `BLOCK`.

    The zeros are between the last page and the footer. Readers find the footer from the file's
    end, and everything else by the offsets in it, which stay as they are.

    Parameters
    ----------
    file
        A whole Parquet file, not encrypted; open for reading and writing.
    """
    tail = len(_PARQUET_END) + 4
    size = file.seek(-tail, os.SEEK_END) + tail
    footer = int.from_bytes(file.read(4), "little") + tail
    end = file.seek(-footer, os.SEEK_END)
    content = file.read()
    file.seek(end)
    file.write(bytes(blocks(size) - size))
    file.write(content)
