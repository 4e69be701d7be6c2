"""Hashes and random values, without OpenSSL.

Owns the only import of BLAKE2b, which CPython has built in, and of the system's random bytes.
Promises that nobody has to import ``hashlib``, ``secrets`` or ``hmac`` for them: those load
OpenSSL, 4 MB of an idle server's memory for what is not used.
Leaves what is hashed, and with which key, to whoever needs it.
"""

import os
from _blake2 import blake2b

__all__ = ("blake2b", "is_same", "random_bytes", "random_hex")

_KEY_BYTES = 32


def random_bytes(count: int) -> bytes:
    """Return random bytes that nobody can guess."""
    return os.urandom(count)


def random_hex(count: int) -> str:
    """Return so many random bytes as hex digits, two for each."""
    return os.urandom(count).hex()


def is_same(one: bytes, other: bytes) -> bool:
    """Compare two secrets; how long it takes says nothing about where they differ."""
    key = os.urandom(_KEY_BYTES)  # nobody can aim at a hash whose key he does not know
    return blake2b(one, key=key).digest() == blake2b(other, key=key).digest()
