"""Signatures of requests, checked with a pinned certificate.

OpenDSR (section 4.2) signs by the Digital Signature Standard: RSA or ECDSA over the SHA-256 of the
raw bytes of a body. A signature is written in Base64, as in the header `X-OpenDSR-Signature`.
"""

import base64
import binascii
from datetime import UTC, datetime

from unlearn.stages.context import Context
from unlearn.stages.errors import Facts, InputError


def check_signature(context: Context, content: bytes, signature: bytes | None, name: str) -> None:
    """Raise an InputError unless a request is signed, where params.yaml asks for it.

    Parameters
    ----------
    context
        The project; `requests.opendsr.certificate` pins the certificate.
    content, name
        The request, and what errors call it.
    signature
        The signature in Base64; None if there is none.

    Raises
    ------
    InputError
        If the request is not signed or by another key, or the certificate cannot be used.
    """
    ours = context.params.requests.opendsr
    pinned = None if ours is None else ours.certificate
    if pinned is None:
        if signature is not None:
            raise InputError(
                f"the signature of {name} cannot be checked: params.yaml pins no certificate",
                "name it in requests.opendsr.certificate",
            )
        return
    if signature is None:
        raise InputError(
            f"{name} is not signed, and requests.opendsr.certificate in params.yaml asks for it; "
            "nothing was changed",
            "--signature FILE: what came in the header X-OpenDSR-Signature",
            facts=Facts(file=name),
        )
    try:
        raw = base64.b64decode(b"".join(signature.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"the signature of {name} is not Base64") from None
    if not _is_signed_by(_certificate(context, pinned), pinned, content, raw):
        raise InputError(
            f"{name} is not what the holder of {pinned} signed; nothing was changed",
            facts=Facts(file=name),
        )


def _certificate(context: Context, pinned: str) -> bytes:
    try:
        return (context.project.root / pinned).read_bytes()
    except OSError:
        raise InputError(f"{pinned}, the certificate of requests, cannot be read") from None


def _is_signed_by(pem: bytes, name: str, content: bytes, signature: bytes) -> bool:
    # Loaded here: most requests come without a signature.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509 import load_pem_x509_certificate

    try:
        certificate = load_pem_x509_certificate(pem)
    except ValueError:
        raise InputError(f"{name} is no X.509 certificate in PEM") from None
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise InputError(
            f"{name} is not valid today", "pin the controller's present certificate in its place"
        )
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, content, padding.PKCS1v15(), SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(SHA256()))
        else:
            raise InputError(f"{name} has a key that is neither RSA nor ECDSA")
    except InvalidSignature:
        return False
    return True
