"""What people see on a terminal: its width, its colours, and lines that fit.

Nothing here changes what goes into a pipe or a file: paths and digests are whole there, and lines
are as long as they are.
"""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import TextIO

#: Streams whose file descriptor stands for a terminal while a progress bar is shown.
STAND_INS: dict[int, int] = {}

#: A terminal that does not say how wide it is.
_COLUMNS, _ROWS = 80, 24
#: No column of a table is made narrower for a long word: the word is broken.
_LONG_WORD = 12
_GAP = 2

RED, GREEN, YELLOW, CYAN, DIM, BOLD = "31", "32", "33", "36", "2", "1"

_CODES = re.compile(r"\x1b\[[0-9;]*m")

#: What is painted at the start of a line. The words say the same without the colour.
_PAINTED = (
    (re.compile(r"(error|unexplained|found|result: something)(?=[ :])"), f"{BOLD};{RED}"),
    (re.compile(r"hint(?=:)"), CYAN),
    (re.compile(r"(note|not searched|not looked at|inconclusive|to do)(?=:)"), YELLOW),
    (re.compile(r"verdict: fail(?=\W|$)"), f"{BOLD};{RED}"),
    (re.compile(r"verdict: pass(?=\W|$)"), f"{BOLD};{GREEN}"),
    (re.compile(r"verdict: inconclusive(?=\W|$)"), f"{BOLD};{YELLOW}"),
)


def is_terminal(stream: TextIO) -> bool:
    """Return whether people read what is written to a stream."""
    with suppress(OSError, ValueError, AttributeError):
        return _descriptor(stream) is not None
    return False


def has_cursor(stream: TextIO) -> bool:
    """Return whether lines that were written can be replaced: not in CI, nor on a dumb terminal."""
    in_ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
    return is_terminal(stream) and not is_dumb() and not in_ci


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream takes colours.

    `NO_COLOR`, with any value, and `TERM=dumb` say no; else `FORCE_COLOR`, with any value, says
    yes; else it is a question of whether the stream is a terminal. See https://no-color.org.
    """
    if os.environ.get("NO_COLOR") or is_dumb():
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def is_dumb() -> bool:
    """Return whether the terminal understands text alone."""
    return os.environ.get("TERM", "").lower() in {"dumb", "unknown"}


def columns(stream: TextIO) -> int | None:
    """Return how many characters wide a terminal is; None for a pipe or a file."""
    return size(stream)[0] if is_terminal(stream) else None


def size(stream: TextIO) -> tuple[int, int]:
    """Return the columns and rows of a terminal; `COLUMNS` and `LINES` are asked first."""
    wide, high = 0, 0
    with suppress(OSError, ValueError, AttributeError):
        wide, high = os.get_terminal_size(_descriptor(stream) or stream.fileno())
    for name, at in (("COLUMNS", 0), ("LINES", 1)):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            wide, high = (int(value), high) if at == 0 else (wide, int(value))
    return wide or _COLUMNS, high or _ROWS


def _descriptor(stream: TextIO) -> int | None:
    """Return the file descriptor of the terminal that a stream writes to; None if it is none."""
    number = stream.fileno()
    number = STAND_INS.get(number, number)
    return number if os.isatty(number) else None


def styled(text: str, style: str, stream: TextIO) -> str:
    """Return text in a colour, where the stream takes any."""
    return f"\x1b[{style}m{text}\x1b[0m" if text and has_colours(stream) else text


def width_of(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    text = _CODES.sub("", text)
    if text.isascii():
        return len(text)
    # Tables of characters; most texts need none.
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def shown(text: str, stream: TextIO) -> str:
    """Return lines as a stream takes them: unchanged in a pipe, fitted and painted for people."""
    width = columns(stream)
    lines = text.split("\n")
    if width is not None:
        lines = [part for line in lines for part in wrapped(line, width)]
    if has_colours(stream):
        lines = [_painted(line) for line in lines]
    return "\n".join(lines)


def _painted(line: str) -> str:
    start = len(line) - len(line.lstrip())
    for pattern, style in _PAINTED:
        if found := pattern.match(line, start):
            return f"{line[:start]}\x1b[{style}m{found[0]}\x1b[0m{line[found.end() :]}"
    return line


def wrapped(line: str, width: int) -> list[str]:
    """Return a line as lines that fit, broken between words; those after the first are indented.

    Parameters
    ----------
    line
        A line, which may have colours.
    width
        Columns.
    """
    if width_of(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip(" "))
    later = indent + 2 if indent + 2 <= width // 2 else 0
    lines, room = [""], width
    current, used = line[:indent], indent
    for gap, word in re.findall(r"( *)([^ ]+)", line[indent:]):
        if used + len(gap) + width_of(word) <= room:
            current, used = f"{current}{gap}{word}", used + len(gap) + width_of(word)
            continue
        if current.strip():
            lines.append(current)
            current, used = " " * later, later
        *full, rest = _broken(word, room - used)
        for part in full:
            lines.append(f"{current}{part}")
            current, used = " " * later, later
        current, used = f"{current}{rest}", used + width_of(rest)
    return [*lines[1:], current]


def _broken(word: str, room: int) -> Iterator[str]:
    """Yield the parts of a word that is too long for a line, after a slash where there is one."""
    room = max(room, 1)
    while width_of(word) > room:
        end = used = 0
        for character in word:
            used += width_of(character)
            if used > room:
                break
            end += 1
        end = max(end, 1)
        end = word.rfind("/", 1, end) + 1 or end
        yield word[:end]
        word = word[end:]
    yield word


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Collection[str],
    *,
    width: int | None = None,
) -> list[list[str]]:
    """Return the lines of a table, those of its head and those of each row.

    Columns that are too wide are made narrower, and their cells get several lines. If that is not
    enough, columns that do not fit stand below the others, after the first column again.

    Parameters
    ----------
    head, rows
        The names of the columns, and the cells of each row.
    left
        Columns that are aligned to the left; all others are to the right.
    width
        Columns of the terminal; None for lines as long as they are.
    """
    cells = [list(head), *(list(row) for row in rows)]
    full = [max(width_of(row[at]) for row in cells) for at in range(len(head))]
    least = [_least([row[at] for row in cells]) for at in range(len(head))]
    blocks = [list(range(len(head)))] if width is None else _blocks(full, least, width)
    parts: list[list[list[str]]] = []
    for block in blocks:
        widths = [full[at] for at in block]
        if width is not None:
            widths = _narrowed(widths, [least[at] for at in block], width)
        aligned = [head[at] in left for at in block]
        parts.append([_row([row[at] for at in block], widths, aligned) for row in cells])
    if len(parts) == 1:
        return parts[0]
    # The head's lines hold whole tables, all but the last: a row of them cannot stand alone.
    before = [line for part in parts[:-1] for row in part for line in row]
    last = parts[-1]
    return [[*before, *last[0]], *last[1:]]


def _least(cells: Sequence[str]) -> int:
    """Return how narrow a column can be without words being broken, but for long ones."""
    return min(max(map(width_of, " ".join(cells).split()), default=0), _LONG_WORD)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * len(widths)


def _blocks(full: Sequence[int], least: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns of each part: all in one if they can be made to fit."""
    every = list(range(len(full)))
    if _total(least) <= width:
        return [every]
    blocks = [[0]]
    for at in every[1:]:
        together = [*(min(full[one], _LONG_WORD * 2) for one in blocks[-1]), full[at]]
        if len(blocks[-1]) > 1 and _total(together) > width:
            blocks.append([0])
        blocks[-1].append(at)
    return blocks


def _narrowed(widths: list[int], least: Sequence[int], width: int) -> list[int]:
    """Return widths that fit: the widest column gives first, and none below its least."""
    widths = list(widths)
    while _total(widths) > width:
        able = [at for at in range(len(widths)) if widths[at] > least[at]]
        # Where even that is too wide, words are broken.
        able = able or [at for at in range(len(widths)) if widths[at] > 1]
        if not able:
            break
        widths[max(able, key=lambda at: widths[at])] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> list[str]:
    """Return the lines of a row, which has as many as its longest cell."""
    parts = [_cell(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for at in range(max(map(len, parts))):
        line = ""
        for part, width, to_left in zip(parts, widths, left, strict=True):
            text = part[at] if at < len(part) else ""
            blank = " " * (width - width_of(text))
            line += " " * _GAP + (text + blank if to_left else blank + text)
        lines.append(line.rstrip())
    return lines


def _cell(text: str, width: int) -> list[str]:
    if width_of(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(lines[-1]) + 1 + width_of(word) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines += _broken(word, width)
    return lines
