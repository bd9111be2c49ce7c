"""Zip archives that model files are: how much they may unpack to.

A small archive can unpack to a thousand times its size, and can name
a size that is not the true one.
"""

import io
import zipfile

from unlearn.stages.errors import InputError

#: Up to this many bytes any archive may unpack to.
FREE_BYTES = 256 << 20
#: Larger ones may unpack to this many times their own size. Numbers of a model shrink less.
RATIO = 10
#: Each member costs memory when the list of members is read.
MAX_MEMBERS = 1_000_000

_PIECE = 1 << 20
_MAGIC = b"PK\x03\x04"


def check_sizes(content: bytes, name: str = "a model file") -> None:
    """Refuse an archive that says of itself that it unpacks to too much.

    Parameters
    ----------
    content
        The archive. Anything else is left for its reader to refuse.
    name
        What errors call it.

    Raises
    ------
    InputError
        If it has too many members, or they are too large in sum.
    """
    if not content.startswith(_MAGIC):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check(archive.infolist(), len(content), name)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return


def unpacked(content: bytes) -> bytes:
    """Return an archive of the same members without compression, so that reading it costs no more.

    Parameters
    ----------
    content
        The archive; returned as it is where nothing in it is compressed.

    Raises
    ------
    InputError
        As `check_sizes`, of the archive and of archives in it.
    zipfile.BadZipFile
        If it is no archive, or a member is not what its header says.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        total = _check(members, len(content), "a model file")
        if all(member.compress_type == zipfile.ZIP_STORED for member in members):
            out = content
        else:
            out = _stored(archive, total)
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        for member in archive.infolist():
            # Sparse matrices are archives of their own, which are read in pieces.
            if member.filename.endswith(".npz"):
                with zipfile.ZipFile(io.BytesIO(archive.read(member))) as inner:
                    total += _check(inner.infolist(), len(content), "a model file")
                _check_total(total, len(content), "a model file")
    return out


def _check(members: list[zipfile.ZipInfo], size: int, name: str) -> int:
    if len(members) > MAX_MEMBERS:
        raise InputError(f"{name} is an archive of more than {MAX_MEMBERS:,} members")
    total = sum(member.file_size for member in members)
    _check_total(total, size, name)
    return total


def _check_total(total: int, size: int, name: str) -> None:
    if total > max(FREE_BYTES, RATIO * size):
        raise InputError(
            f"{name} is an archive of {size / 1e6:,.1f} MB that unpacks to {total / 1e6:,.0f} MB: "
            "it was not unpacked",
            "save the model without compression",
        )


def _stored(archive: zipfile.ZipFile, total: int) -> bytes:
    """Copy the members one piece at a time: a header may name less than what is there."""
    out = io.BytesIO()
    left = total
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as copy:
        for member in archive.infolist():
            with (
                archive.open(member) as source,
                copy.open(zipfile.ZipInfo(member.filename), "w", force_zip64=True) as target,
            ):
                while piece := source.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise zipfile.BadZipFile
                    target.write(piece)
    return out.getvalue()
