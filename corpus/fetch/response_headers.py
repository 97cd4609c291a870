"""Size, version, digests and waiting time of a file from the headers of a response."""

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
    """Bytes [start, end) of a file of `size` bytes; None if the size is not stated."""

    start: int
    end: int
    size: int | None


def length(headers: Headers) -> int | None:
    """Return the Content-Length."""
    text = headers.get("content-length", "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def content_range(headers: Headers) -> ContentRange | None:
    """Return the Content-Range. Source: RFC 9110, section 14.4."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    return ContentRange(int(match[1]), int(match[2]) + 1, None if match[3] == "*" else int(match[3]))


def etag(headers: Headers) -> str | None:
    """Return a strong ETag without its quotes: equal ones mean equal bytes."""
    match = _STRONG.fullmatch(headers.get("etag", "").strip())
    return match[1] if match else None


def validator(headers: Headers) -> str | None:
    """Return the value for If-Range. Source: RFC 9110, section 13.1.5."""
    strong = etag(headers)
    return f'"{strong}"' if strong else headers.get("last-modified", "").strip()[:100] or None


def versions(headers: Headers) -> dict[str, str]:
    """Return everything that identifies the version, the most reliable first: SHA-256, strong ETag, else the date."""
    date = headers.get("last-modified", "").strip()[:100]
    values = {"sha256": digests(headers, complete=False).get("sha256"), "etag": etag(headers)}
    values["date"] = None if values["etag"] else date
    return {name: value for name, value in values.items() if value}


def version(headers: Headers) -> str:
    """Return the `version` of a FileInfo."""
    return next((f"{name}:{value}" for name, value in versions(headers).items()), "size")


def digests(headers: Headers, complete: bool) -> dict[str, str]:
    """Return digests of the file in hexadecimal, by their names in hashlib; `complete`: the body is the whole file.

    S3's ETag is an MD5 unless the object was uploaded in parts or is encrypted with a key of its own; ETags of other
    servers have no meaning. Source: RFC 9530, section 3; RFC 1864; Amazon S3 API reference, Object.
    """
    values: dict[str, str | None] = {}
    if match := _REPR_SHA256.search(headers.get("repr-digest", "")):
        values["sha256"] = _hex(match[1], 32)
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
        values["sha256"] = _hex(headers.get("x-amz-checksum-sha256", ""), 32) or values.get("sha256")
        values["sha1"] = _hex(headers.get("x-amz-checksum-sha1", ""), 20)
    if complete:
        values["md5"] = _hex(headers.get("content-md5", ""), 16)
    plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    plain = plain and "x-amz-server-side-encryption-customer-algorithm" not in headers
    if headers.get("server") == "AmazonS3" and plain and re.fullmatch("[0-9a-f]{32}", etag(headers) or ""):
        values["md5"] = etag(headers)
    return {name: value for name, value in values.items() if value}


def retry_after(headers: Headers) -> float | None:
    """Return the seconds to wait, stated as a number or a date. Source: RFC 9110, section 10.2.3."""
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
