"""What a page says of itself, in its headers and its tags: what robots may do with it, and its license.

Only tags are looked at, over the bytes and in one pass: what stands in comments, scripts and text fields says nothing.
"""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import NamedTuple

# Source: https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag (noindex, none, and that a name
# before a colon says whom the rest is for); noai and noimageai are DeviantArt's of November 2022.
_SAYS = {
    "noai": "robots_noai",
    "noimageai": "robots_noai",
    "noindex": "robots_noindex",
    "none": "robots_noindex",
}
_AGENT = re.compile(r"[a-z*][\w*./ -]*")  # what else stands before a colon is a time of day
_WITH_VALUES = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
_US = {"", "*", "robots", "ccbot", "gristmill"}  # everyone, the crawler of Common Crawl, and who reads its crawls here

_LICENSE = re.compile(
    r"(?:https?:)?//(?:www\.)?creativecommons\.org/"
    r"(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)/([1-4]\.[05])|publicdomain/(zero|mark)/1\.0)(?![0-9.])",
    re.IGNORECASE,
)
_LICENSE_NAMES = {"dc.rights", "dcterms.rights", "dc.rights.license", "dcterms.license", "dcterms.rights.license"}

_META = re.compile(rb"<(?:!--|(?:meta|script|style|textarea|title)(?=[\s/>]))", re.IGNORECASE)
_ALL = re.compile(rb"<(?:!--|(?:meta|script|style|textarea|title|a|link|area)(?=[\s/>]))", re.IGNORECASE)
_ENDS = {name: re.compile(rb"</%s" % name, re.IGNORECASE) for name in (b"script", b"style", b"textarea", b"title")}
_ATTRIBUTE = re.compile(rb"""[\s/]*([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?""")
_TAG_BYTES = 1 << 12  # of a tag, no more is looked at


class _Tag(NamedTuple):
    name: bytes
    attributes: Mapping[str, str]


class PageClaims(NamedTuple):
    """License and robots signals that a page states."""

    signals: Mapping[str, int]
    license: str | None


def claims(content: bytes, carrier: Mapping[str, int]) -> PageClaims:
    """Return the license and robots signals of a page; `carrier` holds those of its HTTP headers."""
    if b"\0" in content[:64]:  # UTF-16 or UTF-32, whose tags are ASCII with NULs between
        content = content.replace(b"\0", b"")
    signals = {**header_robots(""), **carrier}
    stated: set[str | None] = set()
    linked: set[str] = set()
    licensed = b"creativecommons.org/" in content
    for tag in _tags(content, _ALL if licensed else _META):
        if tag.name == b"meta":
            name, value = tag.attributes.get("name", "").strip().lower(), tag.attributes.get("content", "")
            if name in _US - {"", "*"}:
                _hear(value, signals)
            elif name in _LICENSE_NAMES and (found := _license(value)):
                stated.add(found)
        else:
            found = _license(tag.attributes.get("href", ""))
            if "license" in tag.attributes.get("rel", "").lower().split():
                stated.add(found)
            elif found and tag.name == b"a":
                linked.add(found)
    license_ = _only(stated) if stated else _only(linked)
    return PageClaims(signals, license_)


def header_robots(value: str) -> dict[str, int]:
    """What X-Robots-Tag says to everyone or to us, as signals; a header a line."""
    signals = dict.fromkeys(sorted(set(_SAYS.values())), 0)
    for line in value.split("\n"):
        agent = ""
        for part in line.split(","):
            before, colon, rest = part.partition(":")
            name = before.strip().lower()
            if colon and name not in _WITH_VALUES and _AGENT.fullmatch(name):
                agent, part = name, rest
            if agent in _US:
                _hear(part, signals)
    return signals


def _hear(directives: str, signals: dict[str, int]) -> None:
    for part in re.split("[,;]", directives.lower()):
        if part.partition(":")[0].strip() not in _WITH_VALUES:
            signals |= {_SAYS[word]: 1 for word in part.split() if word in _SAYS}


def _license(address: str) -> str | None:
    """The Creative Commons license that an address names, as Hugging Face spells it."""
    found = _LICENSE.match(address.strip())
    if found is None:
        return None
    terms, version, waiver = found.groups()
    if waiver:
        return "cc0-1.0" if waiver.lower() == "zero" else "cc-pdm-1.0"
    return f"cc-{terms.lower()}-{version}"


def _only(found: set[str] | set[str | None]) -> str | None:
    """The one license; None where several are named."""
    return next(iter(found)) if len(found) == 1 else None


def _tags(content: bytes, wanted: re.Pattern[bytes]) -> Iterator[_Tag]:
    at = 0
    while opening := wanted.search(content, at):
        name, at = opening[0][1:].lower(), opening.end()
        if name == b"!--":
            at = content.find(b"-->", at) + 3
            if at < 3:
                return
        elif name in _ENDS:
            end = _ENDS[name].search(content, at)
            if end is None:
                return
            at = end.end()
        else:
            attributes, at = _attributes(content, at)
            yield _Tag(name, attributes)


def _attributes(content: bytes, at: int) -> tuple[dict[str, str], int]:
    """The attributes that stand at `at`, the first of each name; and where they end."""
    found: dict[str, str] = {}
    limit = at + _TAG_BYTES
    while attribute := _ATTRIBUTE.match(content, at, limit):
        name, *values = attribute.groups()
        value = next((value for value in values if value is not None), b"")
        found.setdefault(name.decode("latin-1").lower(), unescape(value.decode("utf-8", "replace")))
        at = attribute.end()
    return found, at
