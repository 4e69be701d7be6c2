"""HTTP/1.1 as bytes: a request out of them, an answer into them.

Owns the records ``Request`` and ``Answer``, and the one shape of an error.
Promises to take only what has one meaning: RFC 9112 without the leniency that lets two readers of
a request disagree about it; header and body of an answer are one piece of bytes.
Leaves who may ask to ``guard.py`` and what is answered to ``api.py``.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import orjson

from blueplane import clock
from blueplane.errors import BlueplaneError

JSON: Final = "application/json"

#: What ends a head.
END: Final = b"\r\n\r\n"
#: Header lines of a request.
MAX_HEADERS: Final = 100

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"
_REQUEST_LINE: Final = re.compile(rb"(%b) (/[!-~]*) HTTP/([0-9])\.([0-9])" % _TOKEN)
_HEADER: Final = re.compile(rb"(%b):[ \t]*([\t -~\x80-\xff]*)" % _TOKEN)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
#: Sent with everything: nothing is kept, guessed or shown inside of another page.
_ALWAYS: Final = (
    "Cache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "X-Content-Type-Options: nosniff\r\n"
)


class RefusedError(BlueplaneError):
    """A request that is not served; ``code`` is a word for programs."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """A head; the names of ``headers`` are lower case, the values in the order in which they came.

    ``path`` is as it was sent: nothing in it is decoded.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, list[str]]
    version: tuple[int, int] = (1, 1)

    def one(self, name: str) -> str | None:
        """Return a header; None when it is not there; raise RefusedError when it is there twice."""
        values = self.headers.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise RefusedError(400, "bad_request", f"{name} is there twice")
        return values[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back; ``headers`` are those that only this answer has."""

    status: int
    body: bytes
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def parse(head: bytes) -> Request:
    """Read a head, without the empty line that ends it; raise RefusedError when it is none."""
    first, *lines = head.split(b"\r\n")
    matched = _REQUEST_LINE.fullmatch(first)
    if matched is None:
        raise RefusedError(400, "bad_request", "this is no request")
    method, target, major, minor = (part.decode() for part in matched.groups())
    if major != "1":
        raise RefusedError(505, "bad_version", "HTTP/1.1 is spoken here")
    if len(lines) > MAX_HEADERS:
        raise RefusedError(431, "too_large", f"more than {MAX_HEADERS} headers")
    path, _, query = target.partition("?")
    return Request(method, path, query, _headers(lines), (1, int(minor)))


def _headers(lines: list[bytes]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        matched = _HEADER.fullmatch(line)
        if matched is None:
            raise RefusedError(400, "bad_request", "a header is none")
        name, value = matched.groups()
        found.setdefault(name.decode().lower(), []).append(value.decode("latin-1").strip(" \t"))
    return found


def error(refused: RefusedError, **headers: str) -> Answer:
    """Return the answer to a request that is not served."""
    body = {"error": {"code": refused.code, "message": str(refused)}}
    return Answer(refused.status, orjson.dumps(body), headers=headers)


def render(answer: Answer, *, closes: bool = False, head_only: bool = False) -> bytes:
    """Return the bytes of an answer; ``closes`` says that none follows on this connection."""
    own = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Date: {_date(clock.wall_ms() // 1000)}\r\n"
        f"Content-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        f"{_ALWAYS}{own}{'Connection: close' if closes else 'Connection: keep-alive'}\r\n\r\n"
    )
    return head.encode() if head_only else head.encode() + answer.body


@lru_cache(2)
def _date(second: int) -> str:
    """Return a time as HTTP writes it: in English, whatever the locale."""
    at = time.gmtime(second)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    )
