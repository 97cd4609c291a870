"""Statements of a web page about its use: robots directives and the license, from HTTP headers and HTML tags.

Tags are found in one pass over the bytes. Comments, scripts and text fields are skipped.
"""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import NamedTuple

# Source: https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag (noindex, none, and user agents
# before a colon); noai and noimageai are DeviantArt's of November 2022.
_SIGNALS = {"noai": "robots_noai", "noimageai": "robots_noai", "noindex": "robots_noindex", "none": "robots_noindex"}
_AGENT = re.compile(r"[a-z*][\w*./ -]*")  # anything else before a colon is a time of day
_WITH_VALUES = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
_OUR_AGENTS = {"", "*", "robots", "ccbot", "gristmill"}  # everyone, Common Crawl's crawler, and readers of its crawls

_LICENSE = re.compile(
    r"(?:https?:)?//(?:www\.)?creativecommons\.org/"
    r"(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)/([1-4]\.[05])|publicdomain/(zero|mark)/1\.0)(?![0-9.])",
    re.IGNORECASE,
)
_LICENSE_NAMES = {"dc.rights", "dcterms.rights", "dc.rights.license", "dcterms.license", "dcterms.rights.license"}

_META = re.compile(rb"<(?:!--|(?:meta|script|style|textarea|title)(?=[\s/>]))", re.IGNORECASE)
_META_AND_LINKS = re.compile(rb"<(?:!--|(?:meta|script|style|textarea|title|a|link|area)(?=[\s/>]))", re.IGNORECASE)
_ENDS = {name: re.compile(rb"</%s" % name, re.IGNORECASE) for name in (b"script", b"style", b"textarea", b"title")}
_ATTRIBUTE = re.compile(rb"""[\s/]*([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?""")
_TAG_BYTES = 1 << 12  # the rest of a longer tag is ignored


class PageClaims(NamedTuple):
    """Robots signals and license that a page states."""

    signals: Mapping[str, int]
    license: str | None


def claims(content: bytes, carrier: Mapping[str, int]) -> PageClaims:
    """Return the license and robots signals of a page; `carrier` holds those of its HTTP headers."""
    if b"\0" in content[:64]:  # UTF-16 or UTF-32, whose tags are ASCII with NULs between
        content = content.replace(b"\0", b"")
    signals = {**header_robots(""), **carrier}
    stated: set[str | None] = set()  # by rel=license or in metadata; None is a license that we do not know
    linked: set[str] = set()  # by an ordinary link
    has_license = b"creativecommons.org/" in content
    for name, attributes in _tags(content, _META_AND_LINKS if has_license else _META):
        if name == b"meta":
            key, value = attributes.get("name", "").strip().lower(), attributes.get("content", "")
            if key in _OUR_AGENTS - {"", "*"}:
                _add_directives(value, signals)
            elif key in _LICENSE_NAMES and (license := _creative_commons(value)):
                stated.add(license)
        else:
            license = _creative_commons(attributes.get("href", ""))
            if "license" in attributes.get("rel", "").lower().split():
                stated.add(license)
            elif license and name == b"a":
                linked.add(license)
    # A page that names several licenses does not say which of them is its own.
    licenses = stated or linked
    return PageClaims(signals, next(iter(licenses)) if len(licenses) == 1 else None)


def header_robots(value: str) -> dict[str, int]:
    """Return the signals of X-Robots-Tag headers, one a line, as far as they address everyone or us."""
    signals = dict.fromkeys(sorted(set(_SIGNALS.values())), 0)
    for line in value.split("\n"):
        agent = ""
        for directive in line.split(","):
            before, colon, after = directive.partition(":")
            name = before.strip().lower()
            # A user agent holds for all that follows on its line.
            if colon and name not in _WITH_VALUES and _AGENT.fullmatch(name):
                agent, directive = name, after
            if agent in _OUR_AGENTS:
                _add_directives(directive, signals)
    return signals


def _add_directives(directives: str, signals: dict[str, int]) -> None:
    for directive in re.split("[,;]", directives.lower()):
        if directive.partition(":")[0].strip() not in _WITH_VALUES:
            signals |= {_SIGNALS[word]: 1 for word in directive.split() if word in _SIGNALS}


def _creative_commons(address: str) -> str | None:
    """Return the Creative Commons license that an address names, as Hugging Face spells it."""
    match = _LICENSE.match(address.strip())
    if match is None:
        return None
    terms, version, waiver = match.groups()
    if waiver:
        return "cc0-1.0" if waiver.lower() == "zero" else "cc-pdm-1.0"
    return f"cc-{terms.lower()}-{version}"


def _tags(content: bytes, opening: re.Pattern[bytes]) -> Iterator[tuple[bytes, Mapping[str, str]]]:
    """Yield the name and the attributes of each tag; comments, scripts and text fields are skipped whole."""
    at = 0
    while match := opening.search(content, at):
        name, at = match[0][1:].lower(), match.end()
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
            yield name, attributes


def _attributes(content: bytes, at: int) -> tuple[dict[str, str], int]:
    """Return the attributes at an offset, the first of each name, and the offset after them."""
    attributes: dict[str, str] = {}
    limit = at + _TAG_BYTES
    while match := _ATTRIBUTE.match(content, at, limit):
        name, *values = match.groups()
        value = next((value for value in values if value is not None), b"")
        attributes.setdefault(name.decode("latin-1").lower(), unescape(value.decode("utf-8", "replace")))
        at = match.end()
    return attributes, at
