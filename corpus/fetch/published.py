"""What a server says of a file in its headers: size, version, digests, and when to ask again."""

import base64
import binascii
import contextlib
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

Headers = Mapping[str, str]
_STRONG = re.compile(r'"([\x21\x23-\x7e]{1,200})"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_REPR_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):")


class ContentRange(NamedTuple):
    """Bytes [start, end) of a file of `size` bytes, where that is told."""

    start: int
    end: int
    size: int | None


def length(headers: Headers) -> int | None:
    """Content-Length, of the body."""
    text = headers.get("content-length", "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def content_range(headers: Headers) -> ContentRange | None:
    """Source: RFC 9110, section 14.4."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    return ContentRange(int(match[1]), int(match[2]) + 1, None if match[3] == "*" else int(match[3]))


def etag(headers: Headers) -> str | None:
    """A strong entity tag, without its quotes: equal ones mean equal bytes."""
    match = _STRONG.fullmatch(headers.get("etag", "").strip())
    return match[1] if match else None


def validator(headers: Headers) -> str | None:
    """What If-Range may name. Source: RFC 9110, section 13.1.5."""
    strong = etag(headers)
    return f'"{strong}"' if strong else headers.get("last-modified", "").strip()[:100] or None


def marks(headers: Headers) -> dict[str, str]:
    """What tells two versions of a file apart, the surest first: the SHA-256; the strong ETag, or else the date."""
    dated = headers.get("last-modified", "").strip()[:100]
    found = {"sha256": digests(headers, whole=False).get("sha256"), "etag": etag(headers)}
    found["date"] = None if found["etag"] else dated
    return {name: value for name, value in found.items() if value}


def version(headers: Headers) -> str:
    """The `version` of a Remote."""
    return next((f"{name}:{value}" for name, value in marks(headers).items()), "size")


def digests(headers: Headers, whole: bool) -> dict[str, str]:
    """Digests of the file in hex digits, by the names that hashlib has for them; `whole`: whether the body is the file.

    S3's ETag is the MD5 unless the object came in parts or is encrypted with a key of its own; other servers' ETags
    are whatever they like. Source: RFC 9530, section 3; RFC 1864; Amazon S3 API reference, Object.
    """
    found: dict[str, str | None] = {}
    if match := _REPR_SHA256.search(headers.get("repr-digest", "")):
        found["sha256"] = _hex(match[1], 32)
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
        found["sha256"] = _hex(headers.get("x-amz-checksum-sha256", ""), 32) or found.get("sha256")
        found["sha1"] = _hex(headers.get("x-amz-checksum-sha1", ""), 20)
    if whole:
        found["md5"] = _hex(headers.get("content-md5", ""), 16)
    plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    plain = plain and "x-amz-server-side-encryption-customer-algorithm" not in headers
    if headers.get("server") == "AmazonS3" and plain and re.fullmatch("[0-9a-f]{32}", etag(headers) or ""):
        found["md5"] = etag(headers)
    return {name: value for name, value in found.items() if value}


def retry_after(headers: Headers) -> float | None:
    """Seconds to wait, out of a number or a date. Source: RFC 9110, section 10.2.3."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _hex(text: str, count: int) -> str | None:
    with contextlib.suppress(binascii.Error, ValueError):
        value = base64.b64decode(text, validate=True)
        return value.hex() if len(value) == count else None
    return None
