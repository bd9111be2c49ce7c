"""Edits of YAML text: one entry changes, and every other line and every comment stays."""

import re
from dataclasses import dataclass

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.cli.text_edits import with_dependency, with_entries, with_setting, without_stage
from unlearn.stages.errors import InputError

NAMES = ["alpha", "beta", "delta", "rate"]
SCALARS = ["1", "0.5", "2.0e-2", "0x5", "text", "'quoted'", '"# no comment"', "[1,  2]", "null", ""]
COMMENTS = st.sampled_from(["", "  # a comment", " # 'quotes' and: colons"])
ABOVE = st.sampled_from(["", "# above", "\n", "# two\n# lines"])


@dataclass(frozen=True)
class Text:
    """Settings in sections, as a person might write them."""

    lines: list[str]
    newline: str
    ends: bool

    @property
    def text(self) -> str:
        return self.newline.join(self.lines) + (self.newline if self.ends else "")


@st.composite
def texts(draw: st.DrawFn) -> Text:
    indent = " " * draw(st.sampled_from([1, 2, 4]))
    lines: list[str] = []
    for section in ("first", "second", "third"):
        lines += [*draw(ABOVE).split("\n"), f"{section}:{draw(COMMENTS)}"]
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
        for name in names:
            lines += [f"{indent}{line}" for line in draw(ABOVE).split("\n")]
            space = draw(st.sampled_from([" ", "   "]))
            scalar = draw(st.sampled_from(SCALARS))
            lines.append(f"{indent}{name}:{space}{scalar}{draw(COMMENTS)}")
    lines += draw(st.sampled_from([[], ["# the end"], ["", "# the end"]]))
    return Text(lines, draw(st.sampled_from(["\n", "\r\n"])), draw(st.booleans()))


def comments(text: str) -> list[str]:
    """Return the comments: what stands behind a hash outside quotes."""
    return re.findall(r"(?:^|\s)(#(?! no comment)[^\r\n]*)", text, re.MULTILINE)


@pytest.mark.slow
@settings(deadline=None)  # a busy machine is no failure
@given(before=texts(), section=st.sampled_from(["first", "second", "third"]), data=st.data())
def test_only_the_line_of_an_edited_entry_changes(
    before: Text, section: str, data: st.DataObject
) -> None:
    content = yaml.safe_load(before.text)
    name = data.draw(st.sampled_from(sorted(content[section])))
    value = data.draw(st.sampled_from([7, 0.25, "word", "1e3", [1, 2], None]))

    after = with_entries(before.text, (section,), {name: value})

    content[section][name] = value
    assert yaml.safe_load(after) == content
    old, new = (text.splitlines(keepends=True) for text in (before.text, after))
    assert len(old) == len(new)
    changed = [line for line, other in zip(old, new, strict=True) if line != other]
    assert all(line.strip().startswith(f"{name}:") for line in changed)
    assert len(changed) <= 1
    assert comments(after) == comments(before.text)


@pytest.mark.slow
@settings(deadline=None)  # a busy machine is no failure
@given(before=texts(), section=st.sampled_from(["first", "second", "third"]))
def test_a_new_entry_is_one_line_more(before: Text, section: str) -> None:
    content = yaml.safe_load(before.text)

    after = with_entries(before.text, (section,), {"added": 3})

    content[section]["added"] = 3
    assert yaml.safe_load(after) == content
    old, new = before.text.splitlines(), after.splitlines()
    (at,) = [number for number, line in enumerate(new) if line.strip() == "added: 3"]
    assert new[:at] + new[at + 1 :] == old
    assert comments(after) == comments(before.text)
    assert before.newline == "\n" or "\n" not in after.replace("\r\n", "")


@settings(deadline=None)  # a busy machine is no failure
@given(before=texts())
def test_a_setting_goes_below_the_one_that_is_named(before: Text) -> None:
    content = yaml.safe_load(before.text)
    neighbour = next(iter(content["second"]))

    after = with_setting(before.text, "second", "added", "data/x.csv", after=neighbour)

    content["second"]["added"] = "data/x.csv"
    assert yaml.safe_load(after) == content
    old, new = before.text.splitlines(), after.splitlines()
    (at,) = [number for number, line in enumerate(new) if line.strip() == "added: data/x.csv"]
    assert new[:at] + new[at + 1 :] == old
    assert new[at - 1].strip().startswith(f"{neighbour}:")


PIPELINE = """\
stages:
  # makes shards
  shard:
    cmd: a
    deps:
      - one   # the rows
  train:  # trains
    cmd: b
    deps: [two]
  last:
    cmd: c
"""


def test_a_stage_is_taken_out_and_the_others_stay() -> None:
    after = without_stage(PIPELINE, "train")

    assert after == PIPELINE.replace("  train:  # trains\n    cmd: b\n    deps: [two]\n", "")
    assert without_stage(after, "train") == after
    with pytest.raises(InputError, match="dvc.lock: stages") as error:
        without_stage(PIPELINE, "last", "dvc.lock")
    assert error.value.hints == ("take last out",)


def test_a_dependency_is_added_behind_a_comment() -> None:
    after = with_dependency(PIPELINE, "shard", "a b.csv")

    line = "      - one   # the rows\n"
    assert after == PIPELINE.replace(line, f'{line}      - "a b.csv"\n')
