"""JSON in the one form of RFC 8785, in which equal values are equal bytes."""

import json
from typing import Any

import rfc8785
from unlearn.stages.receipts.failures import RefusedError


def canonical(value: Any) -> bytes:
    """Return the bytes of JSON values.

    Raises
    ------
    ValueError
        If a value has no such form, such as a number that is not finite.
    """
    return rfc8785.dumps(value)


def parse_canonical(payload: bytes) -> Any:
    """Return the value of bytes in this form.

    Raises
    ------
    RefusedError
        If they are in no form, or in another one.
    """
    try:
        value = json.loads(payload)
        same = canonical(value) == payload
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise RefusedError("not-canonical", "its payload is not JSON in the form of RFC 8785")
    return value
