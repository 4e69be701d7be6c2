"""The proof that whoever answers is the server of a home.

Owns what is asked and how the answer is made of the home's token, its id and the question.
Promises that an answer serves for one question only, and says nothing of the token.
Leaves carrying both to the control socket and to HTTP, and the token to ``server/guard.py``.
"""

import os
import re
from typing import Final

from blueplane.digests import blake2b, is_same, random_hex
from blueplane.errors import HomeError
from blueplane.paths import Home, private_file

#: What may be asked: random bytes as hex digits, made by ``make_challenge``.
CHALLENGE: Final = re.compile(r"[0-9a-f]{64}")
_CHALLENGE_BYTES: Final = 32
_TOKEN_BYTES: Final = 1024


def make_challenge() -> str:
    """Return a question that was never asked before."""
    return random_hex(_CHALLENGE_BYTES)


def answer(token: str, home_id: str, challenge: str) -> str:
    """Return what only a server of that home can answer."""
    digest = blake2b(
        f"{home_id} {challenge}".encode(), key=token.encode()[:64], person=b"blueplane-proof"
    )
    return digest.hexdigest()


def proves(home: Home, challenge: str, given: object) -> bool:
    """Whether ``given`` is the answer of the server of ``home``; raise HomeError without a token.

    Nothing secret is sent to find that out.
    """
    try:
        with private_file(home.token_file, os.O_RDONLY | os.O_NONBLOCK) as file:
            token = file.read(_TOKEN_BYTES).decode("ascii", "replace")
    except OSError as error:
        message = f"{home.token_file}: {error.strerror}; `blueplane restart` makes it"
        raise HomeError(message) from error
    wanted = answer(token, home.home_id(), challenge)
    return isinstance(given, str) and is_same(given.encode("utf-8", "replace"), wanted.encode())
