"""The Ed25519 key (RFC 8032) that signs published heads: made once, kept where only its owner reads it.

Anybody checks a signature with the public key alone; both keys are written as 64 hexadecimal digits.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trading.durable_files import sync_folder


class UnusableKey(Exception):
    """The key that was given, or its file, cannot be used; says why."""


def signing_key(*, given: str, file: Path) -> Ed25519PrivateKey:
    """The key given in hexadecimal, else that of the file, which is made if there is none. Raises UnusableKey."""
    if given:
        return _from_hex(given, "HEADS_KEY")
    try:
        if not file.exists():
            _make(file)
        if file.stat().st_mode & 0o077:
            raise UnusableKey(f"{file} may be read by others than its owner: chmod 600 it, or make a new one")
        return _from_hex(file.read_text(encoding="ascii").strip(), str(file))
    except OSError as error:
        raise UnusableKey(f"{file}: {error.strerror}") from None


def existing_public_key(*, given: str, file: Path) -> str | None:
    """The public key that belongs to `signing_key`, or None where this machine has none. Makes nothing."""
    return public_hex(signing_key(given=given, file=file)) if given or file.exists() else None


def public_hex(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def is_signed_by(public_key: str, signature: str, content: bytes) -> bool:
    """Whether a signature over the content was made with the key; nonsense was not."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            bytes.fromhex(signature), content
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def _from_hex(text: str, source: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    except ValueError:
        raise UnusableKey(f"{source} does not hold the 64 hexadecimal digits of a key") from None


def _make(file: Path) -> None:
    """A key appears under its name complete or not at all; of two processes that make one, the first wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as made:
            made.write(Ed25519PrivateKey.generate().private_bytes_raw().hex() + "\n")
            made.flush()
            os.fsync(made.fileno())
        try:
            os.link(aside, file)
        except FileExistsError:
            return
    finally:
        aside.unlink()
    sync_folder(file.parent)
