"""A project's stages and settings in the dvc.yaml and params.yaml of a repository that has them.

What is there stays byte for byte: blocks are put between its lines, each between two comments that
say where it begins and ends, so that it can be taken out again.
"""

from pathlib import Path
from typing import Any

import yaml
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.errors import InputError
from unlearn.stages.project.shared import BEGIN, END

INTO = "--into FOLDER puts the project into a folder of its own in this repository"


def joins(root: Path) -> bool:
    """Return whether a folder has files that a project's stages and settings are added to."""
    return any((root / name).is_file() for name in ("dvc.yaml", "params.yaml"))


def joined_pipeline(text: str, own: str) -> str:
    """Return the text of a dvc.yaml with a project's stages, variables and plots.

    Parameters
    ----------
    text
        The file as it is.
    own
        The dvc.yaml of the project alone, as its template has it.

    Raises
    ------
    InputError
        If the file is not written in a way that lines can be added to.
    """
    head, _, rest = own.partition("stages:\n")
    stages, _, plots = rest.partition("\n# Plots for")
    remarks = "".join(f"  {line}\n" for line in head.splitlines() if line.startswith("#"))
    blocks = {"stages": remarks + stages}
    if "vars:\n" in head:
        blocks["vars"] = head.partition("vars:\n")[2]
    blocks["plots"] = plots.partition("plots:\n")[2]
    before, added = _parsed(text, "dvc.yaml"), parse_yaml(own)
    expected = dict(before)
    for name in blocks:
        there, new = before.get(name), added[name]
        if there is None:
            expected[name] = new
        elif isinstance(there, dict):
            expected[name] = {**there, **new}
        elif isinstance(there, list):
            expected[name] = [*there, *new]
    return _checked(_with_blocks(text, blocks), expected, "dvc.yaml")


def joined_params(text: str, own: str) -> str:
    """Return the text of a params.yaml with a project's settings at its end.

    Parameters
    ----------
    text
        The file as it is.
    own
        The params.yaml of the project alone.

    Raises
    ------
    InputError
        If the file is not written in a way that lines can be added to.
    """
    expected = {**_parsed(text, "params.yaml"), **parse_yaml(own)}
    new = f"{_complete(text)}{_block(own, 0, _newline(text))}"
    return _checked(new, expected, "params.yaml")


def joined_lines(text: str, own: str) -> str:
    """Return the text of a file of patterns, such as .gitignore, with lines at its end.

    Those that it has already are not added again.
    """
    there = text.splitlines()
    missing = [line for line in own.splitlines() if line not in there]
    if not missing:
        return text
    block = "".join(f"{line}\n" for line in missing)
    return f"{_complete(text)}{_block(block, 0, _newline(text))}"


def stands_apart(text: str) -> bool:
    """Return whether a dvc.yaml without its marked blocks is one without this tool's stages.

    DVC, and formatters that rewrite the file, move comments. Then a stage of the team can get into
    a block, or one of this tool's out of it. A file without other stages needs no marks.

    Raises
    ------
    InputError
        If the file is not readable as YAML, or no mapping.
    """
    before = _stages(text)
    others = {name: stage for name, stage in before.items() if not _is_own(stage)}
    if not others or len(others) == len(before):
        return True
    kept, inside = [], False
    for line in text.splitlines():
        if line.strip() in (BEGIN, END):
            if inside == (line.strip() == BEGIN):
                return False
            inside = not inside
        elif not inside:
            kept.append(line)
    try:
        return not inside and _stages("\n".join(kept)) == others
    except InputError:
        return False


def _stages(text: str) -> dict[str, Any]:
    stages = _parsed(text, "dvc.yaml").get("stages")
    return dict(stages) if isinstance(stages, dict) else {}


def _is_own(stage: Any) -> bool:
    command = stage.get("cmd") if isinstance(stage, dict) else None
    return isinstance(command, str) and command.startswith("unlearn stage ")


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        content = parse_yaml(text)
    except yaml.YAMLError:
        raise InputError(f"{name} is not readable as YAML") from None
    if not isinstance(content, dict | None):
        raise InputError(f"{name} is not a mapping")
    return content or {}


def _checked(text: str, expected: dict[str, Any], name: str) -> str:
    try:
        if parse_yaml(text) == expected:
            return text
    except yaml.YAMLError:
        pass
    raise InputError(
        f"{name} is not written one entry a line, so that nothing can be added to it; nothing was "
        "changed",
        INTO,
    )


def _with_blocks(text: str, blocks: dict[str, str]) -> str:
    """Return a YAML text with lines at the end of each section, or with the section at its end."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    sections = {key.value: value for key, value in pairs}
    newline = _newline(text)
    places: list[tuple[int, bool, str]] = []
    for name, lines in blocks.items():
        section = sections.get(name)
        if section is None:
            places.append((len(text), True, _block(f"{name}:\n{lines}", 0, newline)))
        elif isinstance(section, yaml.CollectionNode) and not section.flow_style and section.value:
            first = section.value[0]
            mark = (first[0] if isinstance(first, tuple) else first).start_mark
            line = text[text.rfind("\n", 0, mark.index) + 1 : mark.index]
            column = len(line) - len(line.lstrip(" "))
            end = _end_of_section(text, pairs, section)
            places.append((end, False, _block(lines, column, newline)))
        # Anything else has no place for a line: the content is checked.
    parts, done = [], 0
    # New sections come after all others: also after the last one, which may end where they begin.
    for at, _, block in sorted(places, key=lambda place: place[:2]):
        parts += [_complete(text[done:at]), block]
        done = at
    return "".join([*parts, text[done:]])


def _end_of_section(text: str, pairs: Any, section: yaml.Node) -> int:
    """Return where a section ends: above the next one, and above the comments on that."""
    later = [key.start_mark.index for key, _ in pairs if key.start_mark.index > _start(section)]
    if not later:
        return len(text)
    at = text.rfind("\n", 0, min(later)) + 1
    while at:
        start = text.rfind("\n", 0, at - 1) + 1
        line = text[start:at].rstrip("\r\n")
        if line and not line.startswith("#"):
            break
        at = start
    return at


def _start(node: yaml.Node) -> int:
    return int(node.start_mark.index)


def _block(lines: str, column: int, newline: str) -> str:
    """Return lines between the comments that mark them, indented to a column.

    Lines of an own file that are indented are so by two spaces.
    """
    known = 2 if lines.startswith("  ") else 0
    prefix = " " * column
    found = [BEGIN, *(line[known:] for line in lines.rstrip("\n").splitlines()), END]
    return "".join(f"{prefix if line else ''}{line}{newline}" for line in found)


def _complete(text: str) -> str:
    """Return a text whose last line ends."""
    return text if not text or text.endswith("\n") else f"{text}{_newline(text)}"


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
