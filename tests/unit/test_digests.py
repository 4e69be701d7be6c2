"""Hashes and random values without OpenSSL."""

import hashlib
import subprocess
import sys

from blueplane.digests import blake2b, is_same, random_bytes, random_hex
from helpers.server import environment


def test_blake2b_is_that_of_everybody() -> None:
    """It is the function of the standard library, whichever way it is imported."""
    # Given / When / Then
    ours = blake2b(b"text", key=b"k", digest_size=8).hexdigest()
    assert ours == hashlib.blake2b(b"text", key=b"k", digest_size=8).hexdigest()


def test_random_values_are_of_the_size_asked_for_and_differ() -> None:
    """Bytes as asked for, and two hex digits for each."""
    # Given / When / Then
    assert len(random_bytes(16)) == 16
    assert len(random_hex(8)) == 16
    assert random_hex(8) != random_hex(8)


def test_is_same_compares_all_of_two_secrets() -> None:
    """Equal ones are the same, and nothing else is, a prefix neither."""
    # Given / When / Then
    assert is_same(b"token", b"token")
    assert not any(is_same(b"token", other) for other in (b"", b"toke", b"tokenx", b"Token"))


def test_server_starts_without_openssl() -> None:
    """What an idle server does not use is not in its memory."""
    # Given a process that has imported the server
    code = (
        "import sys, blueplane.interfaces.cli.serve;"
        "print({'_ssl', '_hashlib', 'asyncio', 'redis.asyncio'} & set(sys.modules))"
    )
    # When
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    # Then
    assert ended.stdout == "set()\n"
