"""Chats from `init` to `predict`: what a user sees, what is refused, and the clean room."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.config.settings_files import FILES
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.final_model.language_model import load_language
from unlearn.stages.rows.tokens import place
from unlearn.stages.text.token_choice import Sampling

from tests.chat_templates import chat, make_chat_base
from tests.cli.conftest import init, refused, unchanged
from tests.conftest import Repo, start_repositories, token_of, use_key
from tests.language_models import made_once

KEY = "5c" * 32
NAMED = ("--id", "id", "--subject", "person")
SHARDS = ["s000", "s001"]


def talk(number: int) -> list[dict[str, Any]]:
    turns = [f"hello, I am {number}", "how are you?"]
    if number % 2:
        turns += ["I am fine", f"good, {number}"]
    return chat(*turns, system="be kind" if number % 3 else None)


ROWS: list[dict[str, Any]] = [
    {"id": f"r{number:02d}", "person": f"p{number // 2:02d}", "messages": talk(number)}
    for number in range(24)
]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture(scope="session")
def chat_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "chat-base", make_chat_base)


@pytest.fixture
def place_of_base(tmp_path: Path, chat_base: Path) -> Repo:
    """Return a folder with a base, and nothing else."""
    shutil.copytree(chat_base, tmp_path / "base")
    return Repo(tmp_path)


def new(folder: Repo, rows: list[dict[str, Any]], *options: str, name: str = "rows.jsonl") -> Any:
    path = folder.root / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(jsonl(rows), encoding="utf-8")
    return init(folder, "new", "--dataset", name, *NAMED, "--base", "base", *options)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_chats_are_found_by_the_name_of_their_column(place_of_base: Repo, name: str) -> None:
    done = new(place_of_base, ROWS, name=name)

    assert done.code == 0, done.err
    assert "note: by their names, 'messages' as the chat" in done.err
    params = check_params(Repo(place_of_base.root / "new").params())
    assert params.dataset.features == {"messages": "messages"}
    options = text_options(params.train)
    assert options.turns == "all"
    # The file that has the template is pinned.
    assert "chat_template.jinja" in options.files


@pytest.mark.slow
def test_chats_of_share_gpt_and_rows_of_alpaca_are_found(place_of_base: Repo) -> None:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    rows = [
        {
            "id": row["id"],
            "person": row["person"],
            "conversations": [
                {"from": names[m["role"]], "value": m["content"]} for m in row["messages"]
            ],
        }
        for row in ROWS
    ]
    done = new(place_of_base, rows)
    assert done.code == 0, done.err
    assert "'conversations' as the chat" in done.err
    shutil.rmtree(place_of_base.root / "new")

    rows = [
        {"id": f"r{n}", "person": f"p{n}", "instruction": "say", "input": "fine", "output": "ok"}
        for n in range(9)
    ]
    done = new(place_of_base, rows)
    assert done.code == 0, done.err
    assert (
        "'instruction' as the prompt, 'input' as what goes behind the prompt, 'output' as the "
        "completion" in done.err
    )
    params = Repo(place_of_base.root / "new").params()
    roles = {"instruction": "prompt", "input": "input", "output": "completion"}
    assert params["dataset"]["features"] == roles
    assert "turns" not in params["train"]["options"]


def test_columns_that_can_mean_two_things_are_asked_about(place_of_base: Repo) -> None:
    rows = [row | {"prompt": "a", "completion": "b"} for row in ROWS]
    done = new(place_of_base, rows)
    assert "the columns can be read in more than one way" in refused(done)
    assert "--messages messages or --prompt prompt --completion completion" in done.err
    assert not (place_of_base.root / "new").exists()
    assert new(place_of_base, rows, "--messages", "messages").code == 0


def test_tools_beside_chats_go_to_the_template_or_are_refused(place_of_base: Repo) -> None:
    rows = [
        row | ({"tools": [{"name": "weather"}]} if at == 4 else {}) for at, row in enumerate(ROWS)
    ]
    said = refused(new(place_of_base, rows))
    assert "data row 5: the tokenizer's chat template writes no definitions of tools" in said
    said = refused(new(place_of_base, rows, "--messages", "messages"))
    assert "column 'tools', data row 5: what is here beside a chat is not read" in said
    said = refused(new(place_of_base, rows, "--text", "messages", "--tools", "tools"))
    assert "--tools is for chats" in said
    template = place_of_base.root / "base/chat_template.jinja"
    before = template.read_text(encoding="utf-8")
    template.write_text("{% if tools %}{{ tools | tojson }}{% endif %}" + before, encoding="utf-8")
    done = new(place_of_base, rows)
    assert done.code == 0, done.err
    assert "'tools' as the definitions of its functions" in done.err
    params = check_params(Repo(place_of_base.root / "new").params())
    assert params.dataset.features == {"messages": "messages", "tools": "tools"}


def test_rows_without_any_of_these_columns_are_asked_about(place_of_base: Repo) -> None:
    rows = [{"id": row["id"], "person": row["person"], "said": "a"} for row in ROWS]
    said = refused(new(place_of_base, rows))
    assert "needs --messages, --prompt with --completion, or --text" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"messages": chat("a")}, "a chat has no turn of the assistant"),
        ({"messages": chat("a", " ")}, "a message of the role assistant is empty"),
        ({"messages": chat("secret", "b <|im_end|>")}, "spells a control token"),
        ({"messages": chat("secret " * 99, "b" * 99)}, "longer than the context of 128 tokens"),
    ],
)
def test_broken_chats_are_refused_with_their_row(
    place_of_base: Repo, change: dict[str, Any], said: str
) -> None:
    rows = [row | change if number in (4, 9, 11) else row for number, row in enumerate(ROWS)]
    done = new(place_of_base, rows)
    found = refused(done)
    assert found.startswith("rows.jsonl: column 'messages', data row 5: ")
    assert ("--too-long truncate" in done.err) == ("context" in said)
    assert said in found
    assert found.endswith("; 3 rows have such chats")
    assert "secret" not in found
    assert not (place_of_base.root / "new").exists()


def test_a_chat_too_long_can_be_cut(place_of_base: Repo) -> None:
    rows = [*ROWS[:-1], ROWS[-1] | {"messages": chat("a " * 99, "b " * 99)}]
    done = new(place_of_base, rows, "--too-long", "truncate")
    assert done.code == 0, done.err
    assert "1 row will be truncated to 128 tokens" in done.err


def test_a_base_without_a_template_is_refused(tmp_path: Path) -> None:
    make_chat_base(tmp_path / "base", None)
    done = new(Repo(tmp_path), ROWS)
    assert "the base's tokenizer has no chat template, which chats need" in refused(done)
    assert "chat_template.jinja" in done.err


@pytest.fixture(scope="session")
def _tuned(tmp_path_factory: pytest.TempPathFactory, chat_base: Path) -> Repo:
    root = tmp_path_factory.mktemp("cli") / "chats"
    (root.parent / "chats.jsonl").write_text(jsonl(ROWS), encoding="utf-8")
    repo = start_repositories(root)
    shutil.copytree(chat_base, root / "models/base")
    base = ("--base", str(root / "models/base"), "--shards", "2", "--slices", "1")
    done = init(repo, ".", "--dataset", str(root.parent / "chats.jsonl"), *NAMED, *base)
    assert done.code == 0, done.err
    use_key(repo, KEY)
    train = repo.params()["train"]
    options = train["options"] | {"rank": 2, "alpha": 4.0}
    repo.set_params(train=train | {"epochs": 1, "batch": 8, "device": "cpu", "options": options})
    repo.stages("shard", "forget", *(f"train@{name}" for name in SHARDS), "aggregate")
    return repo


@pytest.fixture
def tuned(_tuned: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a project of two adapters with a final model."""
    copy = _tuned.copy(tmp_path / "tuned")
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


@pytest.mark.slow
def test_models_after_two_requests_are_those_of_a_clean_room(tuned: Repo, tmp_path: Path) -> None:
    stages = ("forget", *(f"train@{name}" for name in SHARDS), "aggregate")
    holdout = tuned.params()["sharding"]["holdout"]
    trained = [
        person
        for person in dict.fromkeys(str(row["person"]) for row in ROWS)
        if not place(token_of(tuned, person, "subject"), 2, 1, holdout).is_holdout
    ]
    gone = trained[:2]
    before = tuned.files("models/shard_models")
    for person in gone:
        assert tuned.inline("forget", "--subjects", "-", stdin=person).code == 0
        tuned.stages(*stages)
    assert tuned.files("models/shard_models") != before

    room = Repo(tmp_path / "room")
    room.root.mkdir()
    for name in ("params.yaml", *FILES, "dvc.yaml", ".gitignore", "unlearn.key"):
        shutil.copy2(tuned.root / name, room.root / name)
    shutil.copytree(tuned.root / "models/base", room.root / "models/base")
    (room.root / "data").mkdir()
    kept = [row for row in ROWS if row["person"] not in gone]
    (room.root / "data/dataset.jsonl").write_text(jsonl(kept), encoding="utf-8")
    (room.root / "data/forget_list.txt").write_bytes(b"")
    room.stages("shard", *stages)

    made = tuned.files("models")
    found = room.files("models")
    assert {name for name in made if not name.startswith("base")} == {
        name for name in found if not name.startswith("base")
    }
    assert {name: made[name] for name in found} == found


def test_shard_refuses_a_chat_that_came_later(tuned: Repo) -> None:
    rows = [*ROWS, {"id": "r90", "person": "p90", "messages": chat("secret " * 99, "b" * 99)}]
    (tuned.root / "data/dataset.jsonl").write_text(jsonl(rows), encoding="utf-8")
    before = tuned.files("data/shards")
    said = refused(tuned.inline("stage", "shard"))
    assert "data/dataset.jsonl: column 'messages', data row 25: a chat is longer than" in said
    assert "secret" not in said
    assert tuned.files("data/shards") == before


@pytest.mark.slow
def test_predict_answers_questions_and_judges_answers(tuned: Repo) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "q", "messages": chat("hello")},
        {"id": "a", "messages": chat("hello", "how are you?", "I am fine", "good")},
        {"id": "b", "messages": chat("hello", "how are you?", "I am fine")},
    ]
    (tuned.root / "asked.jsonl").write_text(jsonl(rows), encoding="utf-8")
    asked = ("predict", "--input", "asked.jsonl", "--output")
    assert tuned.inline(*asked, "said.jsonl", "--tokens", "4").code == 0
    text = (tuned.root / "said.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    assert [row["perplexity"] is None for row in found] == [True, False, True]
    # The last turn of the second chat is generated again, after the same turns as in the third.
    assert found[1]["generation"] == found[2]["generation"]
    assert all(isinstance(row["generation"], str) for row in found)

    model = load_language(tuned.root / "models/final_model", tuned.root)
    asked_in_python = [row["messages"] for row in rows[:1]]
    assert model.generate(asked_in_python, Sampling(4)) == [found[0]["generation"]]
    assert model.generate(["hello"], Sampling(4)) == [found[0]["generation"]]
    (own,) = model.perplexity([rows[1]["messages"]])
    assert own == model.perplexity([rows[2]["messages"]], ["good"])[0]
    with pytest.raises(InputError, match="a chat ends with user"):
        model.perplexity([rows[2]["messages"]])

    (tuned.root / "asked.jsonl").write_text(jsonl([{"id": "q", "messages": []}]), encoding="utf-8")
    with unchanged(tuned.root):
        said = refused(tuned.inline(*asked, "other.jsonl"))
    assert "asked.jsonl: column 'messages', data row 1: a chat has no messages" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"packing": True}, "train.options.packing: must be false: rows of several people"),
        ({"chat": False}, "train.options.chat: is false, and chats need"),
        ({"turns": "first"}, "train.options.turns"),
    ],
)
def test_settings_that_do_not_suit_chats_are_refused(
    tuned: Repo, options: dict[str, Any], said: str
) -> None:
    train = tuned.params()["train"]
    tuned.set_params(train=train | {"options": train["options"] | options})
    assert said in refused(tuned.inline("status"))
