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


def with_cached_figures(text: str) -> str:
    """Return dvc.yaml's text with the figures of `verify` in DVC's cache, and verdicts in git.

    Outputs and metrics of the stage lose `cache: false`, and reports/verdict.json is added.

    Raises
    ------
    InputError
        If they are not written as a block, one a line.
    """
    verdict = "reports/verdict.json"
    expected = _unshared(yaml.safe_load(text))
    try:
        stage = expected["stages"]["verify"]
        outs = stage["outs"]
    except (KeyError, TypeError):
        raise InputError("dvc.yaml has no stage verify with outputs") from None
    edits: list[_Edit] = []
    for section in ("outs", "metrics"):
        nodes = _find(text, "stages", "verify", section)
        for index, node in enumerate(nodes.value if nodes is not None else ()):
            entry = stage[section][index]
            if not isinstance(entry, dict) or verdict in entry:
                continue
            (name, flags), *_ = entry.items()
            if flags == {"cache": False}:
                stage[section][index] = name
                edits.append(
                    (node.start_mark.index, _last_scalar(node).end_mark.index, as_yaml(name))
                )
    if not any(entry == verdict or verdict in entry for entry in outs):
        first = _find(text, "stages", "verify", "outs").value[0]
        outs.insert(0, {verdict: {"cache": False}})
        margin = " " * (first.start_mark.column - 2)
        newline = "\r\n" if "\r\n" in text else "\n"
        at = first.start_mark.index
        added = f"{verdict}:{newline}{margin}      cache: false{newline}{margin}- "
        edits.append((at, at, added))
    hint = "write the stage as `unlearn init` writes it in a new project"
    return _apply(text, edits, expected, "dvc.yaml: stages.verify", hint)


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
