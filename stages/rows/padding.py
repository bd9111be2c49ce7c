"""Sizes and hashes of files that tell nothing of one row.

dvc.lock is in git, and gives the size and the MD5 of every file. A size tells how long a value was;
a hash lets somebody test a guess of the one value that he does not know.
"""

from typing import Literal

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


def padded_parquet(content: bytes) -> bytes:
    """Return a Parquet file whose size is a multiple of `BLOCK`.

    The zeros are between the last page and the footer. Readers find the footer from the file's
    end, and everything else by the offsets in it, which stay as they are.

    Parameters
    ----------
    content
        A whole Parquet file, not encrypted.
    """
    tail = len(_PARQUET_END) + 4
    footer = int.from_bytes(content[-tail : -len(_PARQUET_END)], "little") + tail
    end = len(content) - footer
    return content[:end] + bytes(blocks(len(content)) - len(content)) + content[end:]
