"""The official client of OpenAI, against a real server."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Repo
from tests.stages.serving.conftest import AUTHORS, SECRET, Served

if TYPE_CHECKING:
    from openai import OpenAI

#: The server takes longer to start than all of its tests.
pytestmark = pytest.mark.slow

MODEL = "authors"
QUESTION = [{"role": "user", "content": AUTHORS[0].prompt}]

Arguments = dict[str, Any]


@pytest.fixture(scope="module")
def client(served: Served) -> "OpenAI":
    """Return the official client of the server."""
    return served.client()


def chat(client: "OpenAI", **more: Any) -> Any:
    """Return the most probable answer, of few tokens."""
    asked: Arguments = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 12}
    return client.chat.completions.create(**(asked | more))


def complete(client: "OpenAI", **more: Any) -> Any:
    """Return the most probable continuation, of few tokens."""
    asked: Arguments = {"model": MODEL, "prompt": "Ada", "temperature": 0, "max_tokens": 12}
    return client.completions.create(**(asked | more))


def text_of(events: Any) -> str:
    """Return the text of a stream of chat."""
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


def test_the_model_says_which_generation_it_is_and_its_verdict(
    client: "OpenAI", project: Repo
) -> None:
    (model,) = client.models.list().data
    outs = project.lock()["aggregate"]["outs"]
    (digest,) = (out["md5"] for out in outs if out["path"] == "models/final_model")

    assert (model.id, model.owned_by) == (MODEL, "unlearn")
    extra = model.model_extra or {}
    assert (extra["generation"], extra["verdict"], extra["label"]) == (
        digest[:12],
        "pass",
        "exact",
    )
    assert client.models.retrieve(MODEL) == model
    assert chat(client, max_tokens=1).system_fingerprint == f"fp_{digest[:12]}"


def test_greedy_answers_are_those_of_predict_and_of_python(
    client: "OpenAI", project: Repo, tmp_path: Path
) -> None:
    from unlearn import load_model
    from unlearn.stages.text.token_choice import Sampling

    rows = [{"prompt": row.prompt} for row in AUTHORS[:3]]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    output = tmp_path / "out.jsonl"
    files = ("--input", str(tmp_path / "in.jsonl"), "--output", str(output))
    done = project.inline("predict", *files, "--tokens", "12")
    assert done.code == 0, done.err
    expected = [json.loads(line)["generation"] for line in output.read_text("utf-8").splitlines()]

    answers = [chat(client, messages=[{"role": "user", "content": row["prompt"]}]) for row in rows]

    assert [answer.choices[0].message.content for answer in answers] == expected
    assert len(set(expected)) > 1
    model = load_model(project.root / "models/final_model", root=project.root)
    assert model.generate([row["prompt"] for row in rows], Sampling(12)) == expected
    assert {answer.usage.completion_tokens for answer in answers} == {12}


def test_a_stream_is_the_answer_in_pieces(client: "OpenAI") -> None:
    whole = chat(client, logprobs=True)

    events = list(chat(client, stream=True, stream_options={"include_usage": True}, logprobs=True))

    assert text_of(events) == whole.choices[0].message.content
    assert events[0].choices[0].delta.role == "assistant"
    assert events[-1].usage == whole.usage
    assert events[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    parts = [event.choices[0].logprobs for event in events[:-1]]
    tokens = [token.token for part in parts if part for token in part.content]
    assert tokens == [token.token for token in whole.choices[0].logprobs.content]


def test_a_stop_string_ends_the_answer_before_it(client: "OpenAI") -> None:
    whole = chat(client).choices[0].message.content
    stop = whole[5:8]
    events = list(chat(client, stop=[stop, "never"], stream=True))
    answer = chat(client, stop=stop)

    assert answer.choices[0].finish_reason == "stop" == events[-1].choices[0].finish_reason
    assert answer.choices[0].message.content == whole[: whole.index(stop)] == text_of(events)
    assert answer.usage.completion_tokens < 12


def test_a_seed_draws_the_same_tokens_again(client: "OpenAI") -> None:
    def drawn(seed: int | None) -> list[str]:
        choices = chat(client, temperature=1.5, top_p=0.9, seed=seed, n=2).choices
        return [choice.message.content for choice in choices]

    assert drawn(7) == drawn(7)
    assert len({*drawn(7), *drawn(8), *drawn(None)}) > 3
    assert (
        chat(client, temperature=2, top_p=0).choices[0].message == chat(client).choices[0].message
    )


def test_log_probabilities_come_with_alternatives(client: "OpenAI") -> None:
    content = chat(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content

    assert len(content) == 12
    for token in content:
        assert len(token.top_logprobs) == 3
        assert token.logprob == token.top_logprobs[0].logprob < 0
        assert token.bytes is None or bytes(token.bytes).decode() == token.token


def test_completions_take_texts_and_tokens(client: "OpenAI") -> None:
    texts = complete(client, prompt=["Ada", "Bo"], n=2, logprobs=2)
    single = complete(client, prompt="Bo")
    first = complete(client, prompt=[1, 40, 41])
    more = complete(client, prompt=[[1, 40, 41]], stream=True)

    assert [choice.index for choice in texts.choices] == [0, 1, 2, 3]
    assert texts.choices[2].text == texts.choices[3].text == single.choices[0].text
    assert first.usage.prompt_tokens == 3
    assert first.choices[0].text == "".join(event.choices[0].text for event in more)
    found = texts.choices[0].logprobs
    assert len(found.tokens) == len(found.token_logprobs) == 12
    assert len(found.top_logprobs[0]) == 2
    assert "".join(found.tokens)[: found.text_offset[1]] == found.tokens[0]


def test_fifty_streams_at_once_all_end_well(client: "OpenAI", served: Served) -> None:
    alone = chat(client).choices[0].message.content

    def one(number: int) -> str:
        if number % 2:
            return text_of(chat(client, stream=True))
        return text_of(chat(client, stream=True, temperature=1, max_tokens=number % 20 + 1)) and ""

    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(one, range(50)))

    assert found == ["", alone] * 25
    served.wait_for("unlearn_answers_running", 0)


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"model": "gpt-4"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, 400, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            400,
            "messages[0].content",
        ),
        ({"temperature": 3}, 400, "temperature"),
        ({"top_p": -1}, 400, "top_p"),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, "stop"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 510}, 400, "max_tokens"),
        ({"n": 100}, 400, "n"),
        ({"top_logprobs": 2}, 400, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
        ({"presence_penalty": 0.5}, 400, "presence_penalty"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools"),
        ({"extra_body": {"magic": 1}}, 400, "magic"),
        ({"extra_body": {"max_tokens": "12"}}, 400, "max_tokens"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: "OpenAI", asked: Arguments, status: int, param: str
) -> None:
    import openai

    with pytest.raises(openai.APIStatusError) as caught:
        chat(client, **asked)

    assert (caught.value.status_code, caught.value.param) == (status, param)
    assert caught.value.type == "invalid_request_error"


def test_a_prompt_that_is_too_long_says_so(client: "OpenAI") -> None:
    import openai

    for text in ("a b " * 600, "x" * 15_000):
        with pytest.raises(openai.BadRequestError) as caught:
            chat(client, messages=[{"role": "user", "content": text}], max_tokens=None)
        assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="not one of 512"):
        complete(client, prompt=[600])


def test_what_asks_for_nothing_is_taken(client: "OpenAI") -> None:
    parts = [{"type": "text", "text": AUTHORS[0].prompt}]
    same: Arguments = {
        "messages": [{"role": "user", "content": parts}],
        "tools": [],
        "response_format": {"type": "text"},
        "presence_penalty": 0,
        "user": SECRET,
        "metadata": {"topic": SECRET},
        "max_tokens": None,
        "max_completion_tokens": 12,
    }
    assert chat(client, **same).choices[0].message == chat(client).choices[0].message
