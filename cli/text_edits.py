"""Changes of a YAML file's text that leave every other character of it, comments too, alone."""

import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.stages.errors import InputError

if TYPE_CHECKING:
    import yaml


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
    import yaml
    from unlearn.cli.init.files import as_yaml

    # Copies all the way: an alias would let a change show in two places.
    before = yaml.safe_load(text)
    expected = {**before, section: {**before[section], name: value}}
    node = _child(yaml.compose(text, Loader=yaml.SafeLoader), section)
    found, neighbour = _child(node, name), _child(node, after)
    edited = None
    if found is not None:
        start, end = found.start_mark.index, found.end_mark.index
        edited = f"{text[:start].rstrip(' ')} {as_yaml(value)}{text[end:]}"
    elif neighbour is not None:
        key = _key(node, after)
        indent = text[text.rfind("\n", 0, key.start_mark.index) + 1 : key.start_mark.index]
        edited = _below(text, neighbour.end_mark.index, f"{indent}{name}: {as_yaml(value)}")
    return _checked(
        edited, expected, f"params.yaml: {section}", f"add `{name}: {value}` to it by hand"
    )


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
    import yaml

    content = _apart(yaml.safe_load(text))
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    within, wanted = content, dict(values)
    for depth, name in enumerate(path):
        child = _child(node, name)
        if not isinstance(within.get(name), dict) or child is None:
            # Nothing to go into, or nothing but `name:`: it is added whole, on one line.
            for missing in reversed(path[depth + 1 :]):
                wanted = {missing: wanted}
            wanted = {name: wanted}
            break
        node, within = child, within[name]
    edited = _with_values(text, node, within, wanted)
    within.update(wanted)
    where = ".".join(path)
    return _checked(
        edited, content, f"params.yaml: {where}", f"set {_one_line(values)} there by hand"
    )


def _with_values(text: str, node: Any, now: Mapping[str, Any], values: dict[str, Any]) -> str:
    """Return the text with values put into one mapping of it."""
    from unlearn.cli.init.files import as_yaml

    edits = []
    added = []
    for name, value in values.items():
        found = _child(node, name)
        if found is None:
            added.append(f"{as_yaml(name)}: {as_yaml(value)}")
        elif name not in now or now[name] != value:
            start, end = found.start_mark.index, found.end_mark.index
            # A null may be nothing at all, right behind the colon.
            gap = "" if text[start - 1 : start].isspace() else " "
            edits.append((start, end, f"{gap}{as_yaml(value)}"))
    if added:
        edits.append(_addition(text, node, added))
    for start, end, new in sorted(edits, reverse=True):
        text = f"{text[:start]}{new}{text[end:]}"
    return text


def _addition(text: str, node: Any, added: list[str]) -> tuple[int, int, str]:
    """Return where entries are added to a mapping, and with what around them."""
    import yaml

    if node.flow_style:
        if not node.value:
            return node.start_mark.index + 1, node.start_mark.index + 1, ", ".join(added)
        end = node.value[-1][1].end_mark.index
        return end, end, "".join(f", {entry}" for entry in added)
    first, last = node.value[0][0].start_mark, node.value[-1][1]
    # Where a block ends is told by what follows, comments and all; what is in its last line is not.
    while not isinstance(last, yaml.ScalarNode) and not last.flow_style and last.value:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    indent = text[first.index - first.column : first.index]
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = "".join(f"{indent}{entry}{newline}" for entry in added)
    end = text.find("\n", last.end_mark.index) + 1
    return (end, end, lines) if end else (len(text), len(text), f"{newline}{lines}")


def _apart(value: Any) -> Any:
    """Return a copy in which nothing is shared: what an alias stands for is there twice."""
    if isinstance(value, dict):
        return {key: _apart(item) for key, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value


def _one_line(values: Mapping[str, Any]) -> str:
    from unlearn.cli.init.files import as_yaml

    return ", ".join(f"`{name}: {as_yaml(value)}`" for name, value in values.items())


def with_dependency(text: str, stage: str, path: str) -> str:
    """Return dvc.yaml's text with one more dependency of a stage.

    Raises
    ------
    InputError
        If the stage's dependencies are not written as a block, one a line.
    """
    import yaml
    from unlearn.cli.init.files import as_yaml

    before = yaml.safe_load(text)
    expected = edited = None
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for part in ("stages", stage, "deps"):
        node = _child(node, part)
    if isinstance(node, yaml.SequenceNode) and node.value:
        stages = before["stages"]
        longer = {**stages[stage], "deps": [*stages[stage]["deps"], path]}
        expected = {**before, "stages": {**stages, stage: longer}}
        last = node.value[-1]
        dash = text[text.rfind("\n", 0, last.start_mark.index) + 1 : last.start_mark.index]
        edited = _below(text, last.end_mark.index, f"{dash}{as_yaml(path)}")
    return _checked(
        edited, expected, f"dvc.yaml: stages.{stage}.deps", f"add `- {path}` to it by hand"
    )


def without_stage(text: str, stage: str, name: str = "dvc.yaml") -> str:
    """Return the text of dvc.yaml, or of dvc.lock, without a stage; as it was if there is none.

    Raises
    ------
    InputError
        If the stages are not written as a block.
    """
    import yaml

    before = yaml.safe_load(text)
    if not isinstance(before, dict) or stage not in (before.get("stages") or {}):
        return text
    left = {key: value for key, value in before["stages"].items() if key != stage}
    keys = [key for key, _ in _pairs(_child(yaml.compose(text, Loader=yaml.SafeLoader), "stages"))]
    place = next(index for index, key in enumerate(keys) if key.value == stage)
    start = text.rfind("\n", 0, keys[place].start_mark.index) + 1
    if place + 1 < len(keys):
        end = text.rfind("\n", 0, keys[place + 1].start_mark.index) + 1
        edited = text[:start] + text[end:]
    else:
        edited = None
    return _checked(edited, {**before, "stages": left}, f"{name}: stages", f"take {stage} out")


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
    from unlearn.stages.project.files import write_bytes

    write_bytes(path, content, stat.S_IMODE(path.stat().st_mode) if path.exists() else None)


def _child(node: Any, name: str) -> "yaml.Node | None":
    """Return what a mapping has under a name."""
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _key(node: Any, name: str) -> "yaml.Node":
    return next(key for key, _ in _pairs(node) if key.value == name)


def _pairs(node: Any) -> "list[tuple[yaml.Node, yaml.Node]]":
    import yaml

    return node.value if isinstance(node, yaml.MappingNode) else []


def _below(text: str, index: int, line: str) -> str:
    """Return the text with a line put below the one that `index` is in."""
    newline = "\r\n" if "\r\n" in text else "\n"
    end = text.find("\n", index)
    if end < 0:
        return f"{text}{newline}{line}{newline}"
    return f"{text[: end + 1]}{line}{newline}{text[end + 1 :]}"


def _checked(edited: str | None, expected: Any, where: str, hint: str) -> str:
    """Return the edited text if it says what it is meant to, and all else that it said before."""
    import yaml

    try:
        if edited is not None and yaml.safe_load(edited) == expected:
            return edited
    except yaml.YAMLError:
        pass
    raise InputError(f"{where} is not written one entry a line, so it cannot be edited", hint)
