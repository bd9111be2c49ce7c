"""`data/suppressed.txt`: the lines of the forget list whose rows no shard gets.

The rows of most lines are in data/shards and in the forget set: `verify` asks the models about
them. The rows of other lines must not lie there again if a new version of the dataset has them:
those that were erased, and those of people who were suppressed without having any row. The stage
`shard` drops such rows. It depends on this file and not on the log, so that an ordinary request
does not rerun it. The log says what has to be in the file; git keeps both.
"""

import json
from collections.abc import Iterable

from unlearn.stages.context import present_epoch
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.log import Entry, Log, read_log
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.epochs import FIRST, Epochs, is_token_line
from unlearn.stages.rows.forget_list import LEFT_OUT, refuse_conflict, render, text_lines
from unlearn.stages.rows.padding import padded_text
from unlearn.stages.rows.tokens import Key

#: The file, as dvc.yaml and messages name it.
SUPPRESSED = "data/suppressed.txt"

#: Begins a line about people who are known by a hash of their contact data alone. They have no
#: token, and the log does not name them.
CONTACT_PREFIX = "contact:"


def read_suppressed(project: Project) -> frozenset[str]:
    """Return the lines of the file, without marks; none where there is no file.

    Raises
    ------
    InputError
        If a line is none of a forget list, or git left conflict markers.
    """
    try:
        content = project.suppressed.read_bytes()
    except FileNotFoundError:
        return frozenset()
    refuse_conflict(content, SUPPRESSED)
    epochs = _epochs(project)
    found = set()
    for number, line in enumerate(text_lines(content, SUPPRESSED), start=1):
        if line.startswith(CONTACT_PREFIX):
            continue
        if line and not is_token_line(line):
            where = Facts(file=SUPPRESSED, line=number)
            raise InputError(
                f"{where}: is no line of a forget list",
                f"`git checkout -- {SUPPRESSED}` takes the last committed one",
                facts=where,
            )
        if line:
            found.add(epochs.present(line) or line)
    return frozenset(found)


def absent_lines(log: Log) -> frozenset[str]:
    """Return the lines of ids that were suppressed and that no row had, without marks.

    A line that was taken back is none of them.
    """
    absent = {id(entry): log.absent_in(entry) for entry in log.entries if entry.absent}
    return frozenset(
        bare
        for line, entries in log.claims().items()
        if any((bare := _bare(line)) in absent.get(id(entry), ()) for entry in entries)
    )


def suppressed_by(log: Log, *, erasing: bool = False) -> frozenset[str]:
    """Return the lines that have to be in the file by the log, without marks.

    They are those that an entry names as absent, and those that an erasure had seen, complete or
    not: it takes the rows out of the dataset first. A line that was taken back is none of them.

    Parameters
    ----------
    log
        The request log.
    erasing
        Whether an erasure is being carried out that the log does not name yet.
    """
    found = log.by_name
    seen = frozenset(found) if erasing else frozenset().union(*(old for _, old in log.erasures()))
    # By identity: an entry's name is a digest over all of its lines.
    erased = {id(entry) for name, entry in found.items() if name in seen}
    return absent_lines(log) | {
        _bare(line)
        for line, entries in log.claims().items()
        if any(id(entry) in erased for entry in entries)
    }


def settled(project: Project, log: Log) -> frozenset[str]:
    """Return the lines that the file should have: by the log, and more only of the forget list."""
    listed = _listed(project)
    return (read_suppressed(project) & listed) | (suppressed_by(log) & listed)


def check_suppressed(project: Project, log: Log) -> frozenset[str]:
    """Return the lines of the file.

    Raises
    ------
    InputError
        If a line is missing that the log asks for, or there is one that the forget list has not.
        Git brings such a file by a revert or a merge.
    """
    lines = read_suppressed(project)
    wanted = settled(project, log)
    if lines == wanted:
        return lines
    missing, foreign = len(wanted - lines), len(lines - wanted)
    what = (
        f"lacks {missing:,} of the lines that were erased or suppressed"
        if missing
        else f"has {foreign:,} lines that are not on the forget list"
    )
    raise InputError(
        f"{SUPPRESSED} {what}",
        "`unlearn repro` writes the file again, by the request log",
        facts=Facts(file=SUPPRESSED),
    )


def write_suppressed(project: Project, lines: Iterable[str]) -> None:
    """Write the file, unless it has exactly these lines: a new one would rerun `shard`."""
    content = rendered(project, lines, contact_lines(project))
    if not project.suppressed.is_file() or project.suppressed.read_bytes() != content:
        write_bytes(project.suppressed, content)


def rendered(project: Project, lines: Iterable[str], contacts: Iterable[str]) -> bytes:
    """Return the file's bytes.

    Parameters
    ----------
    project
        The project.
    lines
        Lines of the forget list, as memory has them.
    contacts
        Lines of people who are known by their contact data alone, as the file has them.
    """
    return render({*map(_epochs(project).written, lines), *contacts})


def settle_suppressed(project: Project, log: Log) -> None:
    """Write the file as it has to be by the log; a file that is not there and not needed is none.

    The caller holds the lock of the list.
    """
    lines = settled(project, log)
    if lines or project.suppressed.is_file():
        write_suppressed(project, lines)


def contact_lines(project: Project) -> frozenset[str]:
    """Return the lines of people who are known by their contact data alone; no line is checked."""
    try:
        content = project.suppressed.read_bytes()
    except FileNotFoundError:
        return frozenset()
    lines = text_lines(content, SUPPRESSED)
    return frozenset(line for line in lines if line.startswith(CONTACT_PREFIX))


def suppress_erased(project: Project, log: Log) -> None:
    """Write the file as it has to be once the rows of all requests are erased.

    To be called when the rows left the dataset, before `shard` runs again: then the entry of the
    erasure changes nothing that a stage depends on. The caller holds the lock of the list.
    """
    erased = suppressed_by(log, erasing=True) & _listed(project)
    write_suppressed(project, settled(project, log) | erased)


def write_dropped(project: Project, key: Key, rows: int) -> None:
    """Note beside the shards how many rows of suppressed lines the dataset has."""
    content = padded_text(json_bytes({"rows": rows}), key, "json")
    write_bytes(project.dropped, content)


def dropped_rows(project: Project) -> int | None:
    """Return how many rows of suppressed lines `shard` dropped; None where data/shards is not here.

    They are rows of the dataset as it is: `unlearn erase` takes them out of it.
    """
    try:
        return int(json.loads(project.dropped.read_bytes())["rows"])
    except FileNotFoundError:
        return 0 if project.shards.is_dir() else None
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"data/shards/{project.dropped.name} is damaged", "`unlearn repro` makes it again"
        ) from None


def changes_suppression(entry: Entry) -> bool:
    """Return whether an entry can change what has to be in the file."""
    return entry.kind in ("restore", "erase") or bool(entry.absent)


def _listed(project: Project) -> frozenset[str]:
    """Return the lines of the forget list, without marks."""
    epochs = _epochs(project)
    lines = text_lines(project.forget_list.read_bytes(), "data/forget_list.txt")
    bare = map(_bare, lines)
    return frozenset(epochs.present(line) or line for line in bare if is_token_line(line))


def _epochs(project: Project) -> Epochs:
    """Return the present epoch of the key; the log is read only where there were others."""
    number = present_epoch(project)
    return FIRST if number == 1 else read_log(project).epochs.at(number)


def _bare(line: str) -> str:
    return line.removesuffix(LEFT_OUT)
