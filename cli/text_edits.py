"""Edits of a YAML file's text that keep every other character of it, comments too.

A round trip through ruamel.yaml does not: it drops comments inside a flow mapping that goes over
several lines, puts what is added to a section below the comment on the next section, and writes
null, spaces before comments, indentation and CRLF in its own way.
"""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import write_bytes

#: What a part of a text is replaced by: its start, its end, and the new text.
_Edit = tuple[int, int, str]


def as_yaml(value: Any) -> str:
    """Return a value as YAML on one line that every YAML reader takes for the same.

    Readers of YAML 1.1 and 1.2 disagree on plain text such as 1e3, no or 0o7: text is quoted
    unless it is plainly a word.
    """
    if isinstance(value, list):
        return f"[{', '.join(as_yaml(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(_entries(value))}}}"
    style = '"' if isinstance(value, str) and not _is_plain(value) else None
    text = yaml.safe_dump(value, default_style=style, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def with_setting(text: str, section: str, name: str, value: str, *, after: str) -> str:
    """Return params.yaml's text with one more setting in a section.

    Parameters
    ----------
    text
        The file as it is.
    section, name, value
        What to set where. A setting that is there as null gets the value.
    after
        The setting whose line the new one comes below.

    Raises
    ------
    InputError
        If the section is not written as a block, one setting a line.
    """
    expected = _unshared(yaml.safe_load(text))
    expected[section] |= {name: value}
    node = _find(text, section)
    found, neighbour = _value(node, name), _value(node, after)
    edits = []
    if found is not None:
        edits = [_replacement(text, found, value)]
    elif neighbour is not None:
        edits = [_below(text, _key(node, after), neighbour, _entries({name: value}))]
    hint = f"add `{name}: {value}` to it by hand"
    return _apply(text, edits, expected, f"params.yaml: {section}", hint)


def with_entries(text: str, path: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return params.yaml's text with other values of settings in a mapping below sections.

    Settings that have their value already stay as they are written. One that is not there, the
    mapping itself or a section above it, is added to what there is, in its style.

    Parameters
    ----------
    text
        The file as it is.
    path
        Names down to the mapping, from the top of the file; the first of them is there.
    values
        Plain values, by name.

    Raises
    ------
    InputError
        If the text cannot be edited without changing more than that, as with aliases.
    """
    expected = _unshared(yaml.safe_load(text))
    node: Any = _find(text)
    within, wanted = expected, dict(values)
    for depth, name in enumerate(path):
        child = _value(node, name)
        if not isinstance(within.get(name), dict) or child is None:
            # The mapping is missing, or empty as in `name:`. It is added whole, on one line.
            for missing in reversed(path[depth:]):
                wanted = {missing: wanted}
            break
        node, within = child, within[name]
    edits, added = [], {}
    for name, value in wanted.items():
        found = _value(node, name)
        if found is None:
            added[name] = value
        elif name not in within or within[name] != value:
            edits.append(_replacement(text, found, value))
    if added:
        edits.append(_addition(text, node, _entries(added)))
    within.update(wanted)
    by_hand = ", ".join(f"`{entry}`" for entry in _entries(values))
    where = f"params.yaml: {'.'.join(path)}"
    return _apply(text, edits, expected, where, f"set {by_hand} there by hand")


def with_dependency(text: str, stage: str, path: str) -> str:
    """Return dvc.yaml's text with one more dependency of a stage.

    Raises
    ------
    InputError
        If the stage's dependencies are not written as a block, one a line.
    """
    expected = _unshared(yaml.safe_load(text))
    node = _find(text, "stages", stage, "deps")
    edits = None
    if isinstance(node, yaml.SequenceNode) and node.value:
        expected["stages"][stage]["deps"].append(path)
        edits = [_below(text, node.value[-1], node.value[-1], [as_yaml(path)])]
    hint = f"add `- {path}` to it by hand"
    return _apply(text, edits, expected, f"dvc.yaml: stages.{stage}.deps", hint)


def without_settings(text: str, section: str, names: Sequence[str]) -> str:
    """Return params.yaml's text without settings of a section, and the comments above them.

    Raises
    ------
    InputError
        If the section is not written as a block, one setting a line.
    """
    expected = _unshared(yaml.safe_load(text))
    node = _find(text, section)
    edits: list[_Edit] | None = None
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        edits = []
        for name in names:
            if expected[section].pop(name, None) is None:
                continue
            start, end = _block(text, node, name)
            while _is_comment(text, above := text.rfind("\n", 0, start - 1) + 1):
                start = above
            edits.append((start, end, ""))
    return _apply(text, edits, expected, f"params.yaml: {section}", "remove them by hand")


def with_stages(text: str, blocks: Mapping[str, str], *, before: str | None = None) -> str:
    """Return dvc.yaml's text with other texts for stages.

    Parameters
    ----------
    text
        The file as it is.
    blocks
        The whole text of each stage, by its name.
    before
        The stage above which a new one comes; by default the first of all.

    Raises
    ------
    InputError
        If the stages are not written as a block.
    """
    node = _find(text, "stages")
    expected = _unshared(yaml.safe_load(text))
    edits: list[_Edit] | None = None
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        edits = []
        above = node.value[0][0] if before is None else _key(node, before)
        first = _line_start(text, above)
        for name, block in blocks.items():
            expected["stages"][name] = yaml.safe_load(block)[name]
            place = _block(text, node, name) if _value(node, name) else (first, first)
            edits.append((*place, block if place != (first, first) else f"{block}\n"))
    return _apply(text, edits, expected, "dvc.yaml: stages", "write it as `unlearn init` does")


def stage_block(text: str, stage: str) -> str:
    """Return the text of one stage of a dvc.yaml, its name included."""
    start, end = _block(text, _find(text, "stages"), stage)
    return text[start:end]


def with_variables(text: str, path: str) -> str:
    """Return dvc.yaml's text with a file whose values dvc.yaml may name."""
    expected = _unshared(yaml.safe_load(text))
    node = _find(text, "vars")
    if node is None:
        expected["vars"] = [path]
        at = _line_start(text, _key(_find(text), "stages"))
        edits: list[_Edit] | None = [(at, at, f"vars:\n  - {path}\n")]
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        expected["vars"].append(path)
        last = node.value[-1]
        edits = [_below(text, node.value[-1], last, [as_yaml(path)])]
    else:
        edits = None
    return _apply(text, edits, expected, "dvc.yaml: vars", f"add `- {path}` to it by hand")


def _last_scalar(node: yaml.Node) -> yaml.Node:
    while not isinstance(node, yaml.ScalarNode) and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node


def without_stage(text: str, stage: str, name: str = "dvc.yaml") -> str:
    """Return the text of dvc.yaml, or of dvc.lock, without a stage; as it was if there is none.

    Raises
    ------
    InputError
        If the stages are not written as a block.
    """
    expected = _unshared(yaml.safe_load(text))
    if not isinstance(expected, dict) or stage not in (expected.get("stages") or {}):
        return text
    del expected["stages"][stage]
    starts = {key.value: _line_start(text, key) for key, _ in _pairs(_find(text, "stages"))}
    following = [start for start in starts.values() if start > starts[stage]]
    edits = [(starts[stage], following[0], "")] if following else None
    return _apply(text, edits, expected, f"{name}: stages", f"take {stage} out")


def text_of(path: Path) -> str:
    """Return a file's text with its line ends as they are."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not UTF-8 text") from None


@contextmanager
def restored_on_error(paths: Iterable[Path]) -> Iterator[None]:
    """Put files back as they were if the block fails."""
    before = {path: path.read_bytes() if path.is_file() else None for path in paths}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                replace_file(path, content)
        raise


def replace_file(path: Path, content: bytes) -> None:
    """Write a file, with the permissions that it had."""
    write_bytes(path, content, stat.S_IMODE(path.stat().st_mode) if path.exists() else None)


def _apply(text: str, edits: list[_Edit] | None, expected: Any, where: str, hint: str) -> str:
    """Return the edited text if it has the expected content; `edits` is None if there is no way."""
    edited = text
    for start, end, new in sorted(edits or (), reverse=True):
        edited = f"{edited[:start]}{new}{edited[end:]}"
    try:
        if edits is not None and yaml.safe_load(edited) == expected:
            return edited
    except yaml.YAMLError:
        pass
    raise InputError(f"{where} is not written one entry a line, so it cannot be edited", hint)


def _replacement(text: str, node: yaml.Node, value: Any) -> _Edit:
    start, end = node.start_mark.index, node.end_mark.index
    # A null may be nothing at all, right behind the colon.
    gap = "" if text[start - 1 : start].isspace() else " "
    return start, end, f"{gap}{as_yaml(value)}"


def _addition(text: str, node: Any, entries: list[str]) -> _Edit:
    """Return the edit that adds entries at the end of a mapping."""
    if not node.flow_style:
        last = node.value[-1][1]
        # The end mark of a block is behind the comments that follow; its last scalar's is not.
        while not isinstance(last, yaml.ScalarNode) and not last.flow_style and last.value:
            last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
        return _below(text, node.value[0][0], last, entries)
    if not node.value:
        start = node.start_mark.index + 1
        return start, start, ", ".join(entries)
    end = node.value[-1][1].end_mark.index
    return end, end, "".join(f", {entry}" for entry in entries)


def _below(text: str, like: yaml.Node, last: yaml.Node, entries: list[str]) -> _Edit:
    """Return the edit that adds lines below the line of `last`, indented as the one of `like`."""
    newline = "\r\n" if "\r\n" in text else "\n"
    prefix = text[_line_start(text, like) : like.start_mark.index]
    lines = "".join(f"{prefix}{entry}{newline}" for entry in entries)
    end = text.find("\n", last.end_mark.index) + 1
    return (end, end, lines) if end else (len(text), len(text), f"{newline}{lines}")


def _block(text: str, node: Any, name: str) -> tuple[int, int]:
    """Return where the lines of an entry of a mapping begin and end; comments above are not it."""
    last = _last_scalar(_value(node, name) or node)
    end = text.find("\n", last.end_mark.index) + 1
    return _line_start(text, _key(node, name)), end or len(text)


def _is_comment(text: str, start: int) -> bool:
    return text[start : text.find("\n", start)].lstrip().startswith("#")


def _line_start(text: str, node: yaml.Node) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _find(text: str, *path: str) -> Any:
    """Return the node at a path of names, None if there is none."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in path:
        node = _value(node, name)
    return node


def _value(node: Any, name: str) -> yaml.Node | None:
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _key(node: Any, name: str) -> yaml.Node:
    return next(key for key, _ in _pairs(node) if key.value == name)


def _pairs(node: Any) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _unshared(value: Any) -> Any:
    """Return a copy in which nothing is shared: what an alias stands for is there twice."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _entries(values: Mapping[str, Any]) -> list[str]:
    return [f"{as_yaml(name)}: {as_yaml(value)}" for name, value in values.items()]


def _is_plain(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII)) and yaml.safe_load(text) == text
