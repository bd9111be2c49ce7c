"""The commitment to the tokens of a request: salted, so that without the salt it says nothing."""

import hashlib
import secrets
from collections.abc import Iterable

from unlearn.stages.receipts.canonical import canonical

_SALT_BYTES = 32
_PURPOSE = b"unlearn receipt commitment v1\0"


def new_salt() -> str:
    """Return a new random salt, in hexadecimal."""
    return secrets.token_hex(_SALT_BYTES)


def commitment(salt: str, tokens: Iterable[str]) -> str:
    """Return the salted SHA-256 of tokens.

    The digest is over a fixed text, the salt (32 bytes) and the sorted tokens as JSON in the form
    of RFC 8785. Who has salt and tokens can check it. Who lacks the salt can test no guess.

    Parameters
    ----------
    salt
        64 hexadecimal digits.
    tokens
        In any order.
    """
    content = _PURPOSE + bytes.fromhex(salt) + canonical(sorted(tokens))
    return hashlib.sha256(content).hexdigest()
