"""Who signs: a private key in an encrypted file, or an external program."""

import base64
import binascii
import os
import shlex
import subprocess
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from unlearn.stages.errors import InputError, ToolError

#: What a signer that is a program begins with.
COMMAND = "command:"

#: Names the environment variable that may hold the passphrase of the private key.
PASSPHRASE_VARIABLE = "UNLEARN_RECEIPT_PASSPHRASE"  # noqa: S105 - a name

_SIGNATURE_BYTES = 64
#: A person may have to touch a device.
_SECONDS = 120
_FEWEST_CHARACTERS = 8


class Signer(Protocol):
    """Makes Ed25519 signatures."""

    def sign(self, content: bytes) -> bytes:
        """Return the signature over bytes (64 bytes)."""
        ...


class FileSigner:
    """A private key of a file.

    Parameters
    ----------
    key
        The private key.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key()

    def sign(self, content: bytes) -> bytes:
        """Return the signature over bytes (64 bytes)."""
        return self._key.sign(content)


class CommandSigner:
    """A program that reads bytes from standard input and prints their signature.

    Parameters
    ----------
    line
        The program and its arguments, as a shell would split them. No shell runs it.
    """

    def __init__(self, line: str) -> None:
        try:
            self._words = shlex.split(line)
        except ValueError:
            raise InputError("the command of the signer has an open quote") from None
        if not self._words:
            raise InputError(f"a signer is a file, or {COMMAND} and a program")

    def sign(self, content: bytes) -> bytes:
        """Return the signature over bytes (64 bytes).

        Raises
        ------
        ToolError
            If the program fails, or prints something else: 64 bytes, or their hexadecimal or base64
            digits.
        """
        name = self._words[0]
        try:
            done = subprocess.run(
                self._words, input=content, stdout=subprocess.PIPE, timeout=_SECONDS, check=False
            )
        except OSError as error:
            raise ToolError(f"the signer {name} cannot be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise ToolError(f"the signer {name} did not end within {_SECONDS} s") from None
        if done.returncode != 0:
            raise ToolError(f"the signer {name} failed with exit code {done.returncode}")
        signature = _signature(done.stdout)
        if signature is None:
            raise ToolError(f"the signer {name} printed no Ed25519 signature")
        return signature


def _signature(printed: bytes) -> bytes | None:
    if len(printed) == _SIGNATURE_BYTES:
        return printed
    text = printed.strip()
    for decode in (_from_hex, _from_base64):
        found = decode(text)
        if found is not None and len(found) == _SIGNATURE_BYTES:
            return found
    return None


def _from_hex(text: bytes) -> bytes | None:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return None


def _from_base64(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def private_bytes(key: Ed25519PrivateKey, passphrase: str) -> bytes:
    """Return the encrypted file of a private key: PKCS#8, PEM.

    Raises
    ------
    InputError
        If the passphrase is too short.
    """
    if len(passphrase) < _FEWEST_CHARACTERS:
        raise InputError(f"a passphrase has at least {_FEWEST_CHARACTERS} characters")
    encryption = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def read_private(path: Path, passphrase: str) -> FileSigner:
    """Return the signer of a file.

    Raises
    ------
    InputError
        If it cannot be read, is no encrypted Ed25519 key, or the passphrase is another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the private key cannot be read: {error.strerror}") from None
    try:
        key = load_pem_private_key(content, passphrase.encode())
    except TypeError:
        raise InputError(
            "the private key is not encrypted", "`unlearn receipt keygen` makes one that is"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("the passphrase is wrong, or the file is no private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("the private key is not an Ed25519 key")
    return FileSigner(key)


def read_public_pem(path: Path) -> Ed25519PublicKey:
    """Return the public key in a PEM file, as programs for hardware keys write it.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path.name} is not an Ed25519 public key in PEM")
    return key


def passphrase_of_variable() -> str | None:
    """Return the passphrase in `UNLEARN_RECEIPT_PASSPHRASE`; None if it is unset or empty."""
    return os.environ.get(PASSPHRASE_VARIABLE) or None
