"""Chats of datasets: what is read, in one form, and what is refused, with the row."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.chat_tools import tools_column
from unlearn.stages.rows.chats import (
    BrokenChatsError,
    ChatError,
    answer_of,
    answers_of,
    chat_text,
    parse_chat,
)
from unlearn.stages.rows.schema import feature_columns

from tests.chat_templates import chat

DATASET = DatasetParams.model_validate(
    {"path": "data/dataset.jsonl", "id": "id", "features": {"talk": "messages"}}
)
CALL = {"id": "c1", "function": {"name": "weather", "arguments": {"place": "Oslo", "days": 2.50}}}
TOOLS = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "rain", "tool_call_id": "c1"},
    {"role": "assistant", "content": "It rains."},
]


def turn(role: str, content: object = "x", **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("no json", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ({"role": "user"}, "no list of messages"),
        ([], "no messages"),
        (["hello"], "no object"),
        ([turn("user"), turn("robot")], "none of system, user, assistant and tool"),
        ([turn("user"), turn("assistant", 5)], "a content that is no text"),
        ([turn("user", [{"type": "image_url"}]), turn("assistant")], "a content that is no text"),
        ([turn("user", " \n"), turn("assistant")], "of the role user is empty"),
        ([turn("user"), turn("assistant", "")], "of the role assistant is empty"),
        ([turn("user")], "no turn of the assistant"),
        ([turn("system")], "no turn of the assistant"),
        ([turn("assistant")], "no user asks"),
        ([turn("system"), turn("assistant")], "no user asks"),
        ([turn("user"), turn("user"), turn("assistant")], "user follows user"),
        ([turn("user"), turn("assistant"), turn("assistant")], "assistant follows assistant"),
        ([turn("user"), turn("system"), turn("assistant")], "system is not the first one"),
        ([turn("user"), turn("assistant"), turn("user")], "ends with user"),
        ([turn("user"), turn("tool"), turn("assistant")], "a tool result in a chat has no call"),
        (TOOLS[:2], "a tool call in a chat has no result"),
        ([*TOOLS[:2], TOOLS[3]], "a tool call in a chat has no result"),
        ([*TOOLS[:3], TOOLS[2], TOOLS[3]], "a tool result in a chat has no call"),
        (
            [*TOOLS[:2], turn("tool", "rain", tool_call_id="c2"), TOOLS[3]],
            "a tool result in a chat has no call",
        ),
        ([turn("user"), turn("assistant", tool_calls="x")], "tool calls of a message are no list"),
        ([{"from": "human", "value": "x"}, {"from": "function_call", "value": "f"}], "no JSON"),
        ([turn("user"), turn("assistant", weight=0.5)], "a weight that is neither 0 nor 1"),
        ([turn("user"), turn("assistant", weight="1")], "a weight that is neither 0 nor 1"),
        ([turn("user"), turn("assistant", weight=True)], "a weight that is neither 0 nor 1"),
        ([turn("user"), turn("assistant", weight=[0])], "a weight that is neither 0 nor 1"),
        ([turn("user", weight=1), turn("assistant")], "user has the weight 1: only answers count"),
        ([turn("user"), turn("assistant", weight=0)], "all turns .* have the weight 0"),
        ([turn("user"), turn("assistant", loss=False)], "has 'loss', which is not read"),
        ([turn("user", training=True), turn("assistant")], "has 'training', which is not read"),
        ([{"from": "human", "value": "x"}, {"from": "gpt", "value": "y", "weight": 2}], "weight"),
    ],
)
def test_broken_chats_are_refused(messages: object, said: str) -> None:
    with pytest.raises(ChatError, match=said):
        parse_chat(messages)


def test_a_question_need_not_end_with_an_answer() -> None:
    assert parse_chat(chat("a"), "any") == chat("a")
    assert parse_chat(TOOLS[:3], "any")[-1]["role"] == "tool"
    with pytest.raises(ChatError, match="a tool call in a chat has no result"):
        parse_chat(TOOLS[:2], "any")


def test_chats_of_share_gpt_are_the_same_chats() -> None:
    talk = [("system", "be kind"), ("human", "weather?"), ("gpt", "rain")]
    # As published sets have it: questions have no weight, or 0.
    weights = {"system": None, "human": 0, "gpt": 1}
    written = [{"from": role, "value": text, "weight": weights[role]} for role, text in talk]
    assert parse_chat(written) == parse_chat(chat("weather?", "rain", system="be kind"))
    called = [
        {"from": "human", "value": "weather?"},
        {"from": "function_call", "value": json.dumps(CALL["function"])},
        {"from": "observation", "value": "rain"},
        {"from": "gpt", "value": "It rains."},
    ]
    found = parse_chat(called)
    assert found[1]["tool_calls"][0]["function"] == CALL["function"]
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "assistant"]


def test_parts_of_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "how "}, {"type": "text", "text": "are you?"}]
    assert parse_chat([turn("user", parts), turn("assistant")])[0]["content"] == "how are you?"


def test_answers_of_a_chat() -> None:
    text = chat_text(parse_chat(chat("a", "b", "c", "d")))
    assert (answers_of(text), answer_of(text)) == (["b", "d"], "d")


def test_weights_say_which_answers_count() -> None:
    talk = chat("a", "b", "c", "d", "e", "f")
    for at, weight in ((0, 0), (1, 0.0), (3, 1), (5, 0)):
        talk[at]["weight"] = weight
    found = parse_chat(talk)
    # What is behind the last answer that counts is not trained on.
    assert [message["content"] for message in found] == ["a", "b", "c", "d"]
    assert [message.get("weight") for message in found] == [0, 0, None, 1]
    assert answers_of(chat_text(found)) == ["d"]
    roles = {"user": "human", "assistant": "gpt"}
    shared = [
        {"from": roles[each["role"]], "value": each["content"], "weight": each.get("weight")}
        for each in talk
    ]
    assert [message.get("weight") for message in parse_chat(shared)] == [None, 0, None, None]
    # A question has no weights, and flags that say nothing else change nothing.
    assert parse_chat(talk, "any") == chat("a", "b", "c", "d", "e", "f")
    flagged = [each | {"loss": each["role"] == "assistant"} for each in chat("a", "b")]
    assert len(parse_chat(flagged)) == 2


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "json"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "secret"}}]),
        ("tools", '[{"name": "secret"}]'),
        ("functions", [{"name": "secret"}]),
        ("system", "secret"),
        ("chat_template_kwargs", {"enable_thinking": False}),
    ],
)
def test_what_is_beside_chats_is_refused(
    suffix: str, name: str, value: object, tmp_path: Path
) -> None:
    empty: object = "" if isinstance(value, str) else None if isinstance(value, dict) else []
    values = [empty, None, value, value]
    rows = [
        {"id": f"r{at}", "talk": chat("a", "b"), "parallel_tool_calls": False, name: each}
        for at, each in enumerate(values)
    ]
    path = tmp_path / f"rows.{suffix}"

    def write(some: list[dict[str, Any]]) -> None:
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(some), path)
        elif suffix == "json":
            path.write_text(json.dumps(some), encoding="utf-8")
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in some), encoding="utf-8")

    write(rows)
    with pytest.raises(BrokenChatsError) as caught:
        read(path)
    assert caught.value.message.startswith(
        f"rows.{suffix}: column '{name}', data row 3: what is here beside a chat is not read"
    )
    assert caught.value.count == 2
    assert "secret" not in str(caught.value)
    write(rows[:2])
    assert len(read(path)) == 2


def test_tools_of_all_formats_are_the_same_text(tmp_path: Path) -> None:
    dataset = DatasetParams.model_validate(
        {
            "path": "rows",
            "id": "id",
            "features": {"talk": "messages", "tools": "tools"},
        }
    )
    weather = {"name": "weather", "parameters": {"place": {"type": "string"}, "days": 2.5}}
    news = {"name": "news", "strict": True}
    given: list[Any] = [[{"type": "function", "function": weather}], [news], [], None]
    rows = [
        {"id": f"r{at}", "talk": chat("a", "b"), "tools": tools} for at, tools in enumerate(given)
    ]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    texts = [row | {"tools": json.dumps(row["tools"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "c.parquet")

    found = {
        path.name: [
            text
            for batch in read_batches(path, path.name, reading=Reading.of(dataset))
            for text in feature_columns(batch, dataset, path.name, 1)["tools"].to_pylist()
        ]
        for path in sorted(tmp_path.iterdir())
    }

    assert found["a.jsonl"] == [
        json.dumps(tools, separators=(",", ":")) if tools else "" for tools in given
    ]
    assert found["b.parquet"] == found["c.parquet"] == found["a.jsonl"]
    for broken in ("{", '"x"', "{}", "[1]", "[{}]"):
        with pytest.raises(BrokenChatsError, match="data row 2: the tools of a chat are"):
            tools_column(pa.chunked_array([["", broken]]), "tools", 1)


def read(path: Path) -> list[str]:
    found = []
    first = 1
    for batch in read_batches(path, path.name, reading=Reading.of(DATASET)):
        found += feature_columns(batch, DATASET, path.name, first)["talk"].to_pylist()
        first += batch.num_rows
    return found


def test_all_formats_give_the_same_text(tmp_path: Path) -> None:
    talks: list[Any] = [TOOLS, chat("ä\u2028", "b", system="c")]
    rows = [{"id": f"r{number}", "talk": talk} for number, talk in enumerate(talks)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    as_text = [row | {"talk": json.dumps(row["talk"], ensure_ascii=False)} for row in rows]
    (tmp_path / "c.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in as_text), "utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    quoted = ['"' + str(row["talk"]).replace('"', '""') + '"' for row in as_text]
    (tmp_path / "e.csv").write_text(
        "id,talk\n" + "".join(f"r{number},{text}\n" for number, text in enumerate(quoted)), "utf-8"
    )

    found = {path.name: read(path) for path in sorted(tmp_path.iterdir())}

    assert len(found) == 5
    for name, texts in found.items():
        assert texts == found["a.jsonl"], name
    assert found["a.jsonl"][0].startswith('[{"role":"user","content":"weather?"},')
    # A number stays a number, and not the text of one.
    assert '"days":2.5}' in found["a.jsonl"][0]


def test_broken_rows_are_counted_and_the_first_one_is_named(tmp_path: Path) -> None:
    talks = [chat("a", "b"), chat("secret"), chat("a", "b"), [], None]
    rows = [{"id": f"r{number}", "talk": talk} for number, talk in enumerate(talks)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with pytest.raises(BrokenChatsError) as caught:
        read(path)
    assert caught.value.message == (
        "rows.jsonl: column 'talk', data row 2: a chat has no turn of the assistant; "
        "3 rows have such chats"
    )
    assert caught.value.count == 3


def test_a_text_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"id":"r","talk":[{"role":"user","content":"\\ud800"},'
        '{"role":"assistant","content":"b"}]}\n'
    )
    with pytest.raises(InputError, match="not valid Unicode"):
        read(path)
