"""How an API key looks and is stored: `pm_` and 256 random bits, kept as SHA-256 only."""

import hashlib
import secrets
from dataclasses import dataclass

KEY_START = "pm_"
PREFIX_LENGTH = len(KEY_START) + 8
MAX_KEY_LENGTH = 100


@dataclass(frozen=True, slots=True)
class FreshKey:
    """A key as it was just made; `secret` is shown once and never stored."""

    secret: str
    prefix: str
    digest: bytes


def make_key() -> FreshKey:
    """A new key. Its prefix, which lists show, gives away 48 of its 256 bits."""
    secret = KEY_START + secrets.token_urlsafe(32)
    return FreshKey(secret=secret, prefix=secret[:PREFIX_LENGTH], digest=key_digest(secret))


def key_digest(secret: str) -> bytes:
    """What the database knows a key by. One round without salt: 256 random bits need no more."""
    return hashlib.sha256(secret.encode()).digest()


def looks_like_key(text: str) -> bool:
    """Whether it is worth asking the database at all."""
    return text.startswith(KEY_START) and len(text) <= MAX_KEY_LENGTH and text.isascii()
