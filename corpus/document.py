"""The document, and the record that a source's reader makes one from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

REVISION = 1  # raise whenever an id or a keyed hash changes: the holdout, samples and the shuffle follow from them
TEXT_REVISION = 1  # raise whenever the output of `plain_text` changes
OUTCOMES = ("kept", "dropped", "skipped", "merged", "failed")
NO_SIGNALS: Mapping[str, int] = MappingProxyType({})


class Origin(NamedTuple):
    """Byte range of a document's record in an input file."""

    file: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its metadata, from the reader to the text shard.

    A reader leaves `id`, `source` and the file name of `origin` empty; the clean stage fills them in.
    """

    id: str  # 32 hex digits, see `document_id`
    text: str
    source: str
    url: str | None
    date: str | None  # ISO 8601
    language: str | None  # ISO 639
    license: str | None  # SPDX; None: the license of the source
    origin: Origin
    signals: Mapping[str, int | None]  # measured numbers; None if this source does not measure the signal


class Record(NamedTuple):
    """One document in its raw form, as a reader found it in a file.

    `start` and `end` are byte offsets in the file on disk. All spans that a reader yields for a file (records, skips
    and failures) are contiguous, do not overlap, and end at the file's size. Inside a compressed container they are
    interpolated, so that they still add up.
    """

    start: int
    end: int
    identity: str  # name in its source: WARC-Target-URI + date, wiki + page + revision, package + version + member …
    content: bytes  # raw, before extraction: HTML, wikitext, text
    charset: str | None = None  # as its carrier states it (an HTTP header); None: guess, or UTF-8
    url: str | None = None
    date: str | None = None  # ISO 8601
    license: str | None = None  # where the record itself states one
    language: str | None = None  # where the record itself states one
    signals: Mapping[str, int] = NO_SIGNALS  # from transport metadata (an HTTP header)

    def document(self, text: str, *, license: str | None = None, signals: Mapping[str, int] = NO_SIGNALS) -> Document:
        """Return the document with the extracted text. A license stated in the content wins over the record's."""
        return Document(
            id="",
            text=text,
            source="",
            url=self.url,
            date=self.date,
            language=self.language,
            license=license or self.license,
            origin=Origin("", self.start, self.end),
            signals=signals,
        )


class Skipped(NamedTuple):
    """A well-formed record that is out of scope: not status 200, a redirect, not HTML …"""

    start: int
    end: int
    reason: str  # snake_case, from a small fixed set


class Failed(NamedTuple):
    """A contiguous span that could not be read."""

    start: int
    end: int
    reason: str


Span = Record | Skipped | Failed


class UnreadableError(Exception):
    """Raised by an extractor if a record's content cannot be made into text; `reason` goes to the ledger."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def plain_text(text: str) -> str:
    r"""Return the text with `\n` as its only line end, and with lone surrogates replaced.

    Line ends carry no meaning, but `\r` would cost tokens and hide duplicates.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates have no UTF-8 form
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def document_id(source: str, identity: str, content: bytes) -> str:
    """Return 128 bits of SHA-256 over (source, identity, content) as 32 hex digits.

    Each field is preceded by its length, so no two triples hash the same input.
    """
    digest = hashlib.sha256()
    for field in (source.encode(), identity.encode("utf-8", "surrogatepass"), content):
        digest.update(len(field).to_bytes(8, "little"))
        digest.update(field)
    return digest.hexdigest()[:32]


def keyed_hash(seed: int, purpose: str, document: str) -> int:
    """Return 64 bits that order or sample documents: BLAKE2b over the 16 bytes of the id, keyed by seed and purpose."""
    key = f"{purpose}:{seed}".encode()
    return int.from_bytes(hashlib.blake2b(bytes.fromhex(document), digest_size=8, key=key).digest(), "big")
