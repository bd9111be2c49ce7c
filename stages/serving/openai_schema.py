"""What requests may say: OpenAI's chat completions and completions."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.serving.openai_errors import ApiError

#: Alternatives to each token that OpenAI's two interfaces return at most.
_CHAT_ALTERNATIVES, _ALTERNATIVES = 20, 5

#: Answers to one prompt at most, as OpenAI has it.
_ANSWERS = 128

#: Parameters that have no effect here, whatever they say.
_IGNORED: Final = frozenset({"user", "safety_identifier", "prompt_cache_key"})

#: Parameters of OpenAI's that this server does not have, with the values that ask for nothing.
_UNSUPPORTED: Final[dict[str, tuple[Any, ...]]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none",),
    "tools": ([],),
    "verbosity": (),
    "web_search_options": (),
}

#: Longest name of a parameter that an error repeats (characters).
_NAME_LENGTH = 64


class _Body(BaseModel):
    """A JSON object; values are of the stated type, and nothing is converted."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class TextPart(_Body):
    """A part of a message's content."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class Message(_Body):
    """A message of a chat.

    Clients send back the messages that they got, whose other fields are empty.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def as_chat(self, place: int) -> dict[str, Any]:
        """Return the message as chat templates read it.

        Parameters
        ----------
        place
            Its number in the chat, for errors.

        Raises
        ------
        ApiError
            If it has a field that is not supported, or no content.
        """
        where = f"messages[{place}]"
        for name, value in (self.model_extra or {}).items():
            if value:
                short = name[:_NAME_LENGTH]
                raise ApiError(
                    400,
                    f"{where}.{short} is not supported",
                    code="unsupported_parameter",
                    param=f"{where}.{short}",
                )
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ApiError(400, f"{where} has no content", param=f"{where}.content")
        content = self.content
        if content is not None and not isinstance(content, str):
            content = "".join(part.text for part in content)
        # OpenAI's newer word for the same role.
        role = "system" if self.role == "developer" else self.role
        chat: dict[str, Any] = {"role": role, "content": content or ""}
        others = {
            "tool_calls": self.tool_calls or None,
            "tool_call_id": self.tool_call_id,
            "name": self.name,
        }
        return chat | {name: value for name, value in others.items() if value is not None}


class StreamOptions(_Body):
    """What a stream has besides text."""

    include_usage: bool | None = None


class _Generation(_Body):
    """What both kinds of requests say about the answer."""

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=_ANSWERS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, str] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        found = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in found if stop)

    @property
    def count(self) -> int:
        """Answers to each prompt."""
        return self.n or 1

    @property
    def most(self) -> int | None:
        """Tokens at most, if the request says so."""
        return self.max_tokens

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def topic(self) -> str | None:
        """What chooses the adapter where the rule is `route`."""
        return (self.metadata or {}).get("topic")

    def check(self) -> None:
        """Raise an ApiError if the request says what this server does not do."""
        for name, value in (self.model_extra or {}).items():
            if value is None or name in _IGNORED:
                continue
            short = name[:_NAME_LENGTH]
            if name not in _UNSUPPORTED:
                raise ApiError(
                    400, f"unknown parameter: {short}", code="unknown_parameter", param=short
                )
            if not any(value == none and _alike(value, none) for none in _UNSUPPORTED[name]):
                raise ApiError(
                    400,
                    f"{short} is not supported",
                    code="unsupported_parameter",
                    param=short,
                )
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options needs stream: true", param="stream_options")


class ChatRequest(_Generation):
    """The body of a request to /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=_CHAT_ALTERNATIVES)] | None = None

    @property
    def most(self) -> int | None:
        """Tokens at most, if the request says so."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """Alternatives to each token; None if no probabilities are requested."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def chat(self) -> list[dict[str, Any]]:
        """The messages as chat templates read them."""
        return [message.as_chat(at) for at, message in enumerate(self.messages)]

    def check(self) -> None:
        """Raise an ApiError if the request says what this server does not do."""
        super().check()
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")


class CompletionRequest(_Generation):
    """The body of a request to /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: Annotated[int, Field(ge=0, le=_ALTERNATIVES)] | None = None

    @property
    def alternatives(self) -> int | None:
        """Alternatives to each token; None if no probabilities are requested."""
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt: a text, or tokens."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)  # type: ignore[arg-type]  # the same

    def check(self) -> None:
        """Raise an ApiError if the request says what this server does not do."""
        super().check()
        if not self.prompt and self.prompt != "":
            raise ApiError(400, "prompt is an empty list", param="prompt")


_Request = TypeVar("_Request", ChatRequest, CompletionRequest)


def parse(body: bytes, kind: type[_Request]) -> _Request:
    """Return the request that a body holds.

    Parameters
    ----------
    body, kind
        The JSON text, and which request it is.

    Raises
    ------
    ApiError
        If it is none, or asks for what this server does not do. The error names the parameter and
        repeats no value.
    """
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise ApiError(400, "the body is not a JSON object", code="invalid_json") from None
        param = _place(first["loc"])
        raise ApiError(400, f"{param or 'the body'}: {first['msg']}", param=param) from None
    request.check()
    return request


def _alike(value: Any, other: Any) -> bool:
    """Return whether both are truth values, or neither: 1 is none, and equals True."""
    return isinstance(value, bool) == isinstance(other, bool)


def _place(parts: Sequence[int | str]) -> str | None:
    """Return where a value is, as in messages[0].role; None for the whole body."""
    found = ""
    for part in parts:
        if isinstance(part, int):
            found += f"[{part}]"
        elif found and ("[" in part or not part.isidentifier() or part in _TYPES):
            break  # one of the types that a value may be of
        else:
            found += f".{part}" if found else part
    return found[:_NAME_LENGTH] or None


#: How pydantic calls types in the place of an error.
_TYPES = frozenset({"str", "int", "float", "bool", "list", "dict"})
