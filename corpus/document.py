"""What passes from a source to the rules: records as they lie in a file, and the documents made of them."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

REVISION = 1  # raised whenever an id or a keyed hash changes: the holdout, samples and the shuffle follow from them
TEXT_REVISION = 1  # raised whenever `plain_text` answers otherwise
OUTCOMES = ("kept", "dropped", "skipped", "merged", "failed")


class Record(NamedTuple):
    """One document as a source's reader found it.

    `start` and `end` are bytes in the file as it lies on disk. The spans of all that a reader yields for a file
    (records, skips and failures) are contiguous, do not overlap, and end at the file's size. Inside a compressed
    container they are interpolated, so that they still add up.
    """

    start: int
    end: int
    identity: str  # native: WARC-Target-URI + date, wiki + page + revision, package + version + member …
    content: bytes  # raw, before extraction: HTML, wikitext, text
    charset: str | None = None  # as the carrier claims it (an HTTP header); None: guess, or UTF-8
    url: str | None = None
    date: str | None = None  # ISO 8601
    license: str | None = None  # where the record itself states one; else the source's
    language: str | None = None  # where the record itself states one
    signals: Mapping[str, int] = MappingProxyType({})  # what its carrier says of it (an HTTP header), as in Extracted


class Skipped(NamedTuple):
    """A well-formed record out of scope: not 200, a redirect, not HTML …"""

    start: int
    end: int
    reason: str  # snake_case, from a small fixed set


class Failed(NamedTuple):
    """A contiguous span that could not be read."""

    start: int
    end: int
    reason: str


Found = Record | Skipped | Failed


class Extracted(NamedTuple):
    """A record's text, with what the record says of itself beside it (corpus.quality.signals.STATED)."""

    text: str
    signals: Mapping[str, int] = MappingProxyType({})
    license: str | None = None  # where the content states one; else the record's, else the source's


class UnreadableError(Exception):
    """Raised by an extractor: this record's content cannot be made into text; `reason` goes to the ledger."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def plain_text(text: str) -> str:
    r"""The text with `\n` at the end of its lines, whatever its source has there, and with lone surrogates replaced.

    Line ends are no part of what a text says, yet `\r` would be tokens, and keep copies of a text apart.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        text.encode()
    except UnicodeEncodeError:  # UTF-8 cannot hold them
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def document_id(source: str, identity: str, content: bytes) -> str:
    """128 bits of SHA-256 over (source, native identity, content), as 32 hex digits.

    Each part is preceded by its length, so no two triples share an input.
    """
    digest = hashlib.sha256()
    for part in (source.encode(), identity.encode("utf-8", "surrogatepass"), content):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]


def keyed_hash(seed: int, purpose: str, document: str) -> int:
    """64 bits that order or sample documents: BLAKE2b over the 16 bytes of the id, keyed by seed and purpose."""
    key = f"{purpose}:{seed}".encode()
    return int.from_bytes(hashlib.blake2b(bytes.fromhex(document), digest_size=8, key=key).digest(), "big")
