"""A project's stages and settings in files of a team: every byte that was there stays."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.cli.doctor import notes_on_marks
from unlearn.cli.init.checks.taken import taken_names
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.cli.init.repository.joining import (
    joined_lines,
    joined_params,
    joined_pipeline,
    stands_apart,
)
from unlearn.cli.init.request.choices import Template
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project

from tests.properties import tried_on

SETTINGS = "algorithm: 3\n# what is trained\ntrain:\n  model: mlp\n"

#: Between and behind the sections of a dvc.yaml.
GAPS = st.sampled_from(["", "\n", "# a comment\n", "\n# two\n\n# comments\n"])
COMMANDS = st.sampled_from(
    [
        "cmd: python a.py",
        "cmd: 'python ''a''.py'  # quoted",
        'cmd: "python \\"a\\".py"',
        "cmd: >-\n{0}  python\n{0}  a.py",
        "cmd: |\n{0}  python a.py\n{0}  # no comment",
        "cmd:\n{0}- python a.py\n{0}- python b.py",
    ]
)
OUTS = st.sampled_from(
    [
        "outs: [a, 'b']",
        "outs:\n{0}- a:\n{0}    cache: false",
        "deps: &{1}\n{0}- a.py\n{0}outs: *{1}",
        "outs: [\n{0}   a,\n{0}   b\n{0}]",
        "outs:\n{0}  - a\n{0}  # the last comment",
    ]
)
VARS = st.sampled_from(["", "vars: [x.yaml]\n", "vars:\n- x: 1\n", "vars:  # own\n   - own.yaml\n"])
PLOTS = st.sampled_from(["", "plots:\n- a.csv\n", "plots:\n  - a.csv:\n      x: y  # why\n"])


@st.composite
def pipelines(draw: st.DrawFn) -> str:
    """Return a dvc.yaml as people write it."""
    indent = " " * draw(st.sampled_from([1, 2, 4]))
    stages = ""
    for name in draw(st.sampled_from([["prepare"], ["prepare", "fit"]])):
        inner = indent * 2
        parts = [draw(COMMANDS), draw(OUTS)]
        stages += f"{indent}{name}:{draw(st.sampled_from(['', '   # why']))}\n"
        stages += "".join(f"{inner}{part.format(inner, name)}\n" for part in parts)
        stages += draw(st.sampled_from(["", "\n", f"{indent}# between\n"]))
    sections = [f"stages:\n{stages}", draw(VARS), draw(PLOTS)]
    order = draw(st.permutations(sections))
    text = "".join(f"{draw(GAPS)}{section}" for section in order) + draw(GAPS)
    if not draw(st.booleans()):
        text = text.rstrip("\n")
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def without_blocks(text: str) -> str:
    """Take out what stands between the marks, as docs/existing-repositories.md says."""
    return re.sub(r"(?ms)^ *# >>> unlearn\r?\n.*?^ *# <<< unlearn\r?\n", "", text)


@cache
def _own(template: Template) -> tuple[str, dict[str, Any]]:
    """Return a template's pipeline, and its stages."""
    text = render_pipeline(template).decode()
    return text, parse_yaml(text)["stages"]


@tried_on(few=20, many=800)
@given(text=pipelines(), template=st.sampled_from(Template))
# The last section is a list, and a new section begins where it ends.
@example("stages:\n prepare:\n  cmd: python a.py\nplots:\n- a.csv", Template.SISA)
def test_without_the_marked_blocks_the_file_is_what_it_was(text: str, template: Template) -> None:
    own, own_stages = _own(template)
    try:
        joined = joined_pipeline(text, own)
    except InputError as error:
        # A list on one line has no place for a line of its own.
        assert "vars: [" in text
        assert error.message.startswith("dvc.yaml is not written one entry a line")
        return

    newline = "\r\n" if "\r\n" in text else "\n"
    assert without_blocks(joined) in (text, f"{text}{newline}")
    assert joined.count("\r\n") == (joined.count("\n") if newline == "\r\n" else 0)
    before, after = parse_yaml(text), parse_yaml(joined)
    assert after["stages"] == before["stages"] | own_stages
    assert list(after["stages"])[: len(before["stages"])] == list(before["stages"])
    assert after["plots"][: len(before.get("plots", []))] == before.get("plots", [])
    assert stands_apart(joined)


OURS = render_pipeline(Template.SISA).decode()
JOINED = joined_pipeline("stages:\n  prepare:\n    cmd: python a.py\n", OURS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # What `dvc freeze prepare`, `dvc stage add` and `dvc remove` did.
        ("  recipe:\n", "    frozen: true\n  recipe:\n"),
        ("  # <<< unlearn\n", "  later:\n    cmd: python b.py\n  # <<< unlearn\n"),
        ("  # >>> unlearn\n", ""),
        ("# <<< unlearn\n", ""),
    ],
)
def test_marks_that_were_moved_do_not_stand_around_the_stages_alone(old: str, new: str) -> None:
    assert stands_apart(JOINED)
    moved = JOINED.replace(old, new, 1)
    assert moved != JOINED
    assert not stands_apart(moved)


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (JOINED, 0),
        (JOINED.replace("  recipe:\n", "    frozen: true\n  recipe:\n", 1), 1),
        # Findings of their own.
        ("# >>> unlearn\n- a\n", 0),
        ("# >>> unlearn\nstages: [\n", 0),
    ],
    ids=["joined", "moved", "list", "broken"],
)
def test_doctor_notes_marks_that_were_moved(tmp_path: Path, text: str, notes: int) -> None:
    (tmp_path / "dvc.yaml").write_text(text, encoding="utf-8")
    found = notes_on_marks(Project(tmp_path))
    assert len(found) == notes
    assert all("delete its stages by their names" in note for note in found)


def test_a_formatter_that_takes_comments_out_leaves_no_marks() -> None:
    assert not stands_apart(yaml.safe_dump(yaml.safe_load(JOINED), sort_keys=False))
    # Without other stages there is nothing to tell apart.
    assert stands_apart(yaml.safe_dump(yaml.safe_load(OURS)))
    assert stands_apart("stages:\n  prepare:\n    cmd: python a.py\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "prepare:\n    a: 1",
        "prepare: {a: 1}   # kept\r\nother: &x [1, 2]\r\nmore: *x\r\n",
        "---\nprepare: 0x10\n",
    ],
)
def test_settings_come_behind_those_of_the_team(text: str) -> None:
    joined = joined_params(text, SETTINGS)

    assert joined.startswith(text)
    assert parse_yaml(joined) == (parse_yaml(text) or {}) | parse_yaml(SETTINGS)
    newline = "\r\n" if "\r\n" in text else "\n"
    assert without_blocks(joined) in (text, f"{text}{newline}")


@pytest.mark.parametrize("text", ["{prepare: 1}\n", "prepare: 1\n...\n", "prepare: 1\n---\n"])
def test_settings_that_no_line_can_follow_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="params.yaml is not") as caught:
        joined_params(text, SETTINGS)

    assert any("--into FOLDER" in hint for hint in caught.value.hints) or "---" in text


def test_stages_on_one_line_are_refused() -> None:
    with pytest.raises(InputError, match="dvc.yaml is not written one entry a line") as caught:
        joined_pipeline("stages: {a: {cmd: x}}\n", render_pipeline().decode())

    assert any("--into FOLDER" in hint for hint in caught.value.hints)


def test_lines_of_patterns_are_added_once() -> None:
    once = joined_lines("*.log", "/models\n*.log\n")

    assert once == "*.log\n# >>> unlearn\n/models\n# <<< unlearn\n"
    assert joined_lines(once, "/models\n*.log\n") == once


def test_names_of_the_team_are_compared_with_those_of_the_pipeline(tmp_path: Path) -> None:
    root = tmp_path
    (root / "dvc.yaml").write_text("stages:\n  train: {cmd: x}\n  young: {cmd: x}\n", "utf-8")
    (root / "params.yaml").write_text("train: 1\nseed: 2\nunlearn: 3\n", "utf-8")

    assert taken_names(root, "sisa") == [
        "dvc.yaml has a stage train",
        "params.yaml has settings seed, train",
    ]
    assert taken_names(root, "posthoc") == [
        "dvc.yaml has stages train, young",
        "params.yaml has settings seed, train, unlearn",
    ]


def test_variables_of_the_team_are_compared_too(tmp_path: Path) -> None:
    # DVC refuses a dvc.yaml with a variable that params.yaml has.
    (tmp_path / "dvc.yaml").write_text(
        "vars:\n- seed: 1\n- other: 2\n- own.yaml:train\n- none.yaml\n- params.yaml\n"
        "stages:\n  a:\n    cmd: x\n    vars: [{verify: 1}]\n",
        "utf-8",
    )
    (tmp_path / "own.yaml").write_text("train: {rounds: 3}\n", "utf-8")

    assert taken_names(tmp_path, "sisa") == [
        "dvc.yaml has a variable seed",
        "own.yaml has a variable train",
        "dvc.yaml has a variable verify",
    ]
