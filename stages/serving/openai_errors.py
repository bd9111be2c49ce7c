"""Errors as OpenAI's interface has them."""

from typing import Any

#: What OpenAI calls an error that the request is to blame for, and one of the server.
INVALID, SERVER = "invalid_request_error", "server_error"


class ApiError(Exception):
    """A request that is not answered.

    Parameters
    ----------
    status
        HTTP status.
    message
        One sentence for the client. It has no text of prompts or answers.
    code
        A name for programs; None if there is none.
    param
        The parameter of the request that is wrong; None if it is no single one.
    retry_after
        Seconds after which the client may try again; None if that does not help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        if self.status == 429:  # noqa: PLR2004 - Too Many Requests
            return "rate_limit_error"
        return INVALID if self.status < 500 else SERVER  # noqa: PLR2004 - errors of the server

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}

    def as_json(self) -> dict[str, Any]:
        """Return OpenAI's error object."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


def too_long(context: int, prompt: int, answer: int | None = None) -> ApiError:
    """Return the error of a prompt that leaves no room for its answer.

    Parameters
    ----------
    context
        Tokens that the model reads at most.
    prompt
        Tokens of the prompt, or how many it has at least.
    answer
        Tokens that were requested; None if no number was.
    """
    asked = (
        f"and {answer:,} more were requested" if answer else "which leaves no room for an answer"
    )
    return ApiError(
        400,
        f"this model's maximum context length is {context:,} tokens: "
        f"the prompt has {prompt:,}, {asked}",
        code="context_length_exceeded",
        param="messages" if answer is None else "max_tokens",
    )
