"""What requests may say: laws of the parser, and durations and tokens of the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.serving.openai_errors import ApiError
from unlearn.stages.serving.openai_schema import ChatRequest, CompletionRequest, parse
from unlearn.stages.serving.settings import Settings, is_loopback, read_token, seconds_of

from tests.properties import tried_on

NAMES = sorted({*ChatRequest.model_fields, *CompletionRequest.model_fields, "tools", "zzz"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@tried_on(few=25, many=400)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.booleans())
def test_every_json_object_is_a_request_or_an_error_for_the_client(
    fields: dict[str, Any], which: bool
) -> None:
    usual = {"model": "m", "messages": [{"role": "user", "content": "secret"}], "prompt": "secret"}
    other = ("prompt", "messages")[which]
    body = {name: value for name, value in (usual | fields).items() if name != other}
    try:
        content = json.dumps(body).encode()
        request = parse(content, CompletionRequest) if which else parse(content, ChatRequest)
    except ApiError as error:
        assert error.status == 400
        assert "secret" not in error.message
    else:
        assert 1 <= request.count <= 128
        assert all(request.stops)
        assert request.most is None or request.most >= 1
        assert not {"tools", "zzz"}.intersection(
            name for name in fields if fields[name] not in (None, [])
        )


@tried_on(few=50, many=200)
@given(st.binary(max_size=60))
def test_bytes_are_never_more_than_an_error(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse(body, ChatRequest)


def test_durations_have_a_number_and_a_unit() -> None:
    found = [seconds_of(text, "--max-stale") for text in ("90s", "1.5m", "24h", "7d")]
    assert found == [90, 90, 86_400, 604_800]
    for text in ("", "5", "h", "-1h", "0s", "1 h", "1w", "nan"):
        with pytest.raises(InputError, match="is no duration"):
            seconds_of(text, "--max-stale")


def test_only_loopback_goes_without_a_token(tmp_path: Path) -> None:
    hosts = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "a.example")  # noqa: S104
    assert [is_loopback(host) for host in hosts] == [True] * 4 + [False] * 4
    with pytest.raises(InputError, match="needs a token"):
        Settings("10.0.0.1", 1, "m").check()
    Settings("10.0.0.1", 1, "m", token="x" * 16).check()
    Settings("::1", 1, "m").check()
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\nmore\n")
    assert read_token(file, "another-one-0123456") == "0123456789abcdef"
    assert read_token(None, " 0123456789abcdef ") == "0123456789abcdef"
    assert read_token(None, None) is None
    for text in ("", "short", "with spaces in it 123", "ümlaut-0123456789"):
        file.write_text(text)
        with pytest.raises(InputError, match="16 or more"):
            read_token(file, None)
