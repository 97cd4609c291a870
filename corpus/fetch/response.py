"""Response of any store: its status, the headers that describe a file, and its body with the limit on slow ones."""

import base64
import contextlib
import io
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from corpus.fetch import politeness
from corpus.fetch.politeness import TransientError

_MESSAGE_BYTES = 4096  # of an error's body
_STRONG = re.compile(r'"([\x21\x23-\x7e]{1,200})"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_REPR_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):")


class BodyRange(NamedTuple):
    """Bytes [start, end) of a file of `size` bytes that a body holds; None if not stated."""

    start: int
    end: int | None
    size: int | None


class Response:
    """Response to one request. `body` returns 1 to n bytes of the body as sent, b"" at its end."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], body: Callable[[int], bytes]) -> None:
        self.url, self.status, self._body = url, status, body
        self.headers = {name.lower(): value.strip() for name, value in headers.items()}
        self._waited_s, self._received_bytes = 0.0, 0  # since the last check for a stall

    @classmethod
    def of_error(cls, url: str, status: int, headers: Mapping[str, str], message: str) -> "Response":
        """Return the response that a client library's error carries."""
        return cls(url, status, headers, io.BytesIO(message.encode()).read)

    def read(self, count: int) -> bytes:
        """Return 1 to `count` bytes of the body, b"" at its end.

        Raises TransientError if the connection fails, or after STALL_S at less than MIN_BYTES_PER_S bytes per second.
        """
        began = time.monotonic()
        block = self._body(count)
        self._waited_s += time.monotonic() - began
        self._received_bytes += len(block)
        if self._waited_s > politeness.STALL_S:
            if self._received_bytes < politeness.MIN_BYTES_PER_S * politeness.STALL_S:
                raise TransientError(f"stalled: {self._received_bytes} bytes received in {self._waited_s:.0f} s")
            self._waited_s, self._received_bytes = 0.0, 0
        return block

    def read_up_to(self, count: int) -> bytes:
        """Return `count` bytes of the body, fewer only at its end. Raises TransientError."""
        data = bytearray()
        while len(data) < count and (block := self.read(count - len(data))):
            data += block
        return bytes(data)

    def message(self) -> str:
        """Return the beginning of an error's body as a suffix for our error: one line, safe to print, without tags."""
        body = b""
        with contextlib.suppress(TransientError):
            body = self.read_up_to(_MESSAGE_BYTES)
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", body.decode("utf-8", "replace"), flags=re.DOTALL)
        text = "".join(character if character.isprintable() else " " for character in text)
        text = " ".join(text.split())[:200]
        return f"; server message: {text}" if text else ""

    @property
    def length(self) -> int | None:
        """The Content-Length."""
        text = self.headers.get("content-length", "")
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None

    @property
    def body_range(self) -> BodyRange | None:
        """The part of the file in the body; None if a partial response does not state it.

        Source: RFC 9110, section 14.4.
        """
        if self.status == 200:
            return BodyRange(0, self.length, self.length)
        match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        if match is None:
            return None
        return BodyRange(int(match[1]), int(match[2]) + 1, None if match[3] == "*" else int(match[3]))

    @property
    def versions(self) -> dict[str, str]:
        """Everything that identifies the version, the most reliable first.

        A strong ETag stands without its quotes: equal ones mean equal bytes.
        """
        strong = _STRONG.fullmatch(self.headers.get("etag", ""))
        values = {
            "sha256": self.digests.get("sha256"),
            "etag": strong and strong[1],
            "date": self.headers.get("last-modified", "")[:100],
        }
        return {kind: value for kind, value in values.items() if value}

    @property
    def version(self) -> str:
        """The `version` of a FileInfo."""
        return next((f"{kind}:{value}" for kind, value in self.versions.items()), "size")

    @property
    def validator(self) -> str | None:
        """The value for If-Range. Source: RFC 9110, section 13.1.5."""
        etag = self.versions.get("etag")
        return f'"{etag}"' if etag else self.versions.get("date")

    def is_other_version(self, known: Mapping[str, str]) -> bool:
        """Compare the most reliable value that both the response and `known` have."""
        stated = self.versions
        kind = next((kind for kind in stated if kind in known), None)
        return kind is not None and stated[kind] != known[kind]

    @property
    def digests(self) -> dict[str, str]:
        """Digests of the file in hexadecimal, by their names in hashlib.

        S3's ETag is an MD5 unless the object was uploaded in parts or is encrypted with a key of its own; ETags of
        other servers have no meaning. Source: RFC 9530, section 3; RFC 1864; Amazon S3 API reference, Object.
        """
        headers = self.headers
        values: dict[str, str | None] = {}
        if match := _REPR_SHA256.search(headers.get("repr-digest", "")):
            values["sha256"] = _hex(match[1], 32)
        if headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
            values["sha256"] = _hex(headers.get("x-amz-checksum-sha256", ""), 32) or values.get("sha256")
            values["sha1"] = _hex(headers.get("x-amz-checksum-sha1", ""), 20)
        if self.status == 200:  # of the body, which is all of the file
            values["md5"] = _hex(headers.get("content-md5", ""), 16)
        plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
        plain = plain and "x-amz-server-side-encryption-customer-algorithm" not in headers
        match = re.fullmatch('"([0-9a-f]{32})"', headers.get("etag", ""))
        if headers.get("server") == "AmazonS3" and plain and match:
            values["md5"] = match[1]
        return {name: value for name, value in values.items() if value}

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, stated as a number or a date. Source: RFC 9110, section 10.2.3."""
        text = self.headers.get("retry-after", "")
        if re.fullmatch(r"[0-9]{1,9}", text):
            return float(text)
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        return None


def _hex(text: str, count: int) -> str | None:
    with contextlib.suppress(ValueError):
        value = base64.b64decode(text, validate=True)
        return value.hex() if len(value) == count else None
    return None
