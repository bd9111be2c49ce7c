"""Plain lines of JSON are read as Python reads them, and no others are read at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.reading import json_rows
from unlearn.stages.reading.plain_json import PlainLines
from unlearn.stages.reading.records import read_batches

from tests.properties import tried_on

Row = dict[str, Any]

#: Numbers and words as JSON allows them, and some that look alike and are none.
WORDS = [
    *("0", "-0", "7", "-12", "1.5", "-0.25", "1e5", "1E+5", "1.50e-07", "0e0", "10", "1e007"),
    *("true", "false", "null"),
    *("01", "-01", "00", "1.", ".5", "-", "+1", "1e", "1e+", "1.2.3", "1e5e5", "1e5.5", "--1"),
    *("1-2", "1+1", "-.5", "1.e5", "0x1", "nul", "nulll", "tru", "True", "falsE", "truefalse"),
    *("NaN", "Infinity", "1 2", "", " ", "1true", "null1", "e5", "E", "ee", "\t1", "[]", "{}"),
]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
NAMES = st.text(st.sampled_from('ab:,{}" é'), max_size=3)
VALUES = st.one_of(
    st.sampled_from(WORDS),
    TEXTS.map(json.dumps),
    TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(['"null"', '""', '"a" "b"', '"a"1', '1"a"', '"1', '"\x01"', '":"', '"}"']),
)


#: What JSON is made of.
SIGNS = '{}[]:,"\\ \n\tnultrefas012.-+eEé'


def by_python(line: str) -> list[tuple[str, str | None]] | None:
    """Return a line's fields with the texts of their values; None if it has nothing plain."""
    try:
        pairs = json.loads(
            line, parse_int=str, parse_float=str, parse_constant=float, object_pairs_hook=list
        )
    except ValueError:
        return None
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        return None
    if not pairs or len(dict(pairs)) != len(pairs):
        return None
    found: list[tuple[str, str | None]] = []
    for name, value in pairs:
        if value is not None and not isinstance(value, str | bool):
            return None
        found.append((name, json.dumps(value) if isinstance(value, bool) else value))
    return found


def written(names: list[str], rows: list[list[str]], styles: list[tuple[str, str]]) -> list[str]:
    lines = []
    for values, (comma, colon) in zip(rows, styles, strict=False):
        fields = (
            f"{json.dumps(name, ensure_ascii=False)}{colon}{value}"
            for name, value in zip(names, values, strict=False)
        )
        lines.append("{" + comma.join(fields) + "}")
    return lines


@tried_on(few=60, many=600)
@given(st.data())
def test_plain_lines_are_read_as_python_reads_them(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=3))
    row = st.lists(VALUES, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(row, min_size=1, max_size=3))
    style = st.sampled_from([(",", ":"), (", ", ": "), (",  ", ":"), (" ,", " :"), (",", ":\t")])
    lines = written(names, rows, data.draw(st.lists(style, min_size=3, max_size=3)))
    check(lines)


@tried_on(few=60, many=300)
@given(
    st.lists(
        st.text(st.sampled_from('{}[]:,"\\ \n\tnulltrefas0123.-+eEé'), max_size=14), max_size=3
    )
)
@example(['{"a":1}{"a":1}'])
@example(['{"a":1}', '0{"a":1}'])
@example(['{"a":1}', "", '{"a":2}'])
@example(['{"a":1}', '{"b":2}'])
@example(['{"a":"x,"b":"y"}'])
@example(['"a":1'])
@example(['{"a":n}'])
@example(['{"a":f}'])
def test_what_is_no_json_is_not_read(lines: list[str]) -> None:
    check(lines)


PLAIN = [
    '{"a": 10, "b": "x, y", "c": null, "d": -1.5e-07}\n{"a": 0, "b": "", "c": true, "d": 2.0}\n',
    '{"a":"x\\\\","b":"\\"","c":"\\u00e9\\n"}\n{"a":"","b":"\\\\\\"","c":"\\ud83d\\ude00"}\n',
    '{"a":10,"b":"x:y","c":false}\n{"a":-0,"b":"null","c":null}\n{"a":1E5,"b":"{","c":true}\n',
]


@tried_on(few=100, many=1200)
@given(
    st.sampled_from(PLAIN),
    st.integers(0, 100),
    st.integers(0, 2),
    st.text(st.sampled_from(SIGNS), max_size=2),
)
def test_a_plain_file_with_a_change_anywhere_is_no_other_file(
    text: str, place: int, removed: int, added: str
) -> None:
    check((text[:place] + added + text[place + removed :]).removesuffix("\n").split("\n"))


def check(lines: list[str]) -> None:
    expected = [by_python(line) for line in "\n".join(lines).split("\n")]
    plain = PlainLines("".join(f"{line}\n" for line in lines).encode())
    fields = plain.fields
    table = None if fields is None else plain.table(fields)
    if table is None:
        return
    assert [list(row.items()) for row in table.to_pylist()] == expected


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "b": "x, y", "c": null}',
        '{"a":-1.50e-07,"b":"a: {b}","c":true}',
        '{"a":false,"b":"","c":"null"}',
        '{"id":"é","b":0}',
        json.dumps({"id": "é", "text": 'a "quote", {b}: \\\n', "end": "\\"}),
    ],
)
def test_lines_as_programs_write_them_are_plain(line: str) -> None:
    """A check that is too strict would read every file slowly."""
    plain = PlainLines(f"{line}\n".encode() * 70)
    table = plain.table(plain.fields or [])

    assert table is not None
    assert table.num_rows == 70
    assert list(table.to_pylist()[69].items()) == by_python(line)


def test_lines_that_are_plain_and_others_make_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "_CHUNK_BYTES", 50)
    rows: list[Row] = [{"a": number, "b": f"text {number}"} for number in range(40)]
    rows[17] = {"a": 17, "c": 'a "quote"'}
    rows[30] = {"c": None, "b": "other order", "a": 1}
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    found = [row for batch in read_batches(path, "d") for row in batch.to_pylist()]

    assert found == [{"a": str(row["a"]), "b": row.get("b"), "c": row.get("c")} for row in rows]


@pytest.mark.parametrize("bad", ['{"a": 01}', '{"a": 1, "a": 2}', '{"a": "x"y}', '{"a": 1} x'])
def test_a_fault_after_many_plain_lines_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setattr(json_rows, "_CHUNK_BYTES", 64)
    path = tmp_path / "d.jsonl"
    path.write_text('{"a": 1}\n' * 100 + bad + "\n" + '{"a": 1}\n' * 9, encoding="utf-8")

    with pytest.raises(InputError, match="line 101"):
        list(read_batches(path, "d"))
