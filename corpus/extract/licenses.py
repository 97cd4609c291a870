"""Licenses of code: told from the text of a license, from a tag, and from what a package says of itself.

They are spelt as SPDX, in small letters as Hugging Face has them: `mit`, `gpl-2.0-or-later`, `apache-2.0 OR mit`.
"""

import re
from collections.abc import Set

from corpus.extract.license_phrases import BARRED, CHOICE, NOT_OURS, PHRASES, SOME

UNKNOWN = "other"  # a license that we do not know
PERMISSIVE = frozenset(
    [
        "0bsd",
        "afl-3.0",
        "apache-2.0",
        "artistic-2.0",
        "blueoak-1.0.0",
        "bsd-1-clause",
        "bsd-2-clause",
        "bsd-2-clause-patent",
        "bsd-3-clause",
        "bsl-1.0",
        "cc0-1.0",
        "curl",
        "hpnd",
        "icu",
        "isc",
        "json",
        "libpng",
        "libpng-2.0",
        "mit",
        "mit-0",
        "mit-cmu",
        "ms-pl",
        "mulanpsl-2.0",
        "ncsa",
        "openssl",
        "postgresql",
        "psf-2.0",
        "python-2.0",
        "ruby",
        "tcl",
        "unicode-3.0",
        "unlicense",
        "upl-1.0",
        "vim",
        "w3c",
        "wtfpl",
        "x11",
        "zlib",
    ]
)  # what asks for notices at most. Source: Blue Oak Council's list of permissive licenses, the common ones
_OTHERS = frozenset(
    [
        "agpl-3.0",
        "agpl-3.0-only",
        "agpl-3.0-or-later",
        "apache-1.1",
        "artistic-1.0",
        "bsd-4-clause",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cddl-1.0",
        "cecill-2.1",
        "epl-1.0",
        "epl-2.0",
        "eupl-1.2",
        "gpl-2.0",
        "gpl-2.0-only",
        "gpl-2.0-or-later",
        "gpl-3.0",
        "gpl-3.0-only",
        "gpl-3.0-or-later",
        "lgpl-2.0",
        "lgpl-2.1",
        "lgpl-2.1-only",
        "lgpl-2.1-or-later",
        "lgpl-3.0",
        "lgpl-3.0-only",
        "lgpl-3.0-or-later",
        "mpl-1.1",
        "mpl-2.0",
        "ms-rl",
        "ofl-1.1",
        "osl-3.0",
        "zpl-2.1",
    ]
)

_COMPILED = tuple((name, re.compile(phrase)) for name, phrase in PHRASES)
_MAX_TEXT = 200_000  # characters of a license text that are looked at
_NOT_WORD = re.compile(r"[^a-z0-9]+")

_ID = r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}"
_OPERAND = rf"\({{0,3}}{_ID}\){{0,3}}"
_EXPRESSION = rf"{_OPERAND}(?:(?:[ \t]{{1,20}}(?:OR|AND|WITH)[ \t]{{1,20}}|/){_OPERAND}){{0,8}}"
_TAG = re.compile(rf"SPDX-License-Identifier:[ \t]{{0,20}}({_EXPRESSION})", re.IGNORECASE)
_KEY = re.compile(r"^([ \t]{0,20})[\"']?licen[cs]e(?:-expression)?[\"']?[ \t]{0,20}[:=]", re.IGNORECASE | re.MULTILINE)
_FIRST_KEY = re.compile(r"\s{0,100}\{[ \t]{0,20}\r?\n([ \t]{0,20})\"")  # of JSON
_STATED = re.compile(
    r"^[ \t]{0,20}[\"']?licen[cs]e(?:-expression)?[\"']?[ \t]{0,20}[:=][ \t]{0,20}"
    r"(?:\{[ \t]{0,20}(?:text|\"?type\"?)[ \t]{0,20}[:=])?[ \t]{0,20}[\"']?"
    rf"({_EXPRESSION})(?: license)?[\"']?[ \t]{{0,20}}\}}?,?[ \t]{{0,20}}\r?$",
    re.IGNORECASE | re.MULTILINE,
)
_VAGUE = re.compile(
    r"[ \t\"'\[{(]*(?:see\b|file\b|text\b|unknown|none|null|workspace|true|dual"
    r"|bsd|apache|mit\b|psf|python|public|osi|$)",
    re.IGNORECASE | re.MULTILINE,
)
_TAG_LINES, _TAG_CHARACTERS = 30, 8000
_TOKEN = re.compile(r"[()]|[^\s()/]+|/")


def license_of_text(text: str) -> str:
    """The license that a text is, or first names; UNKNOWN if it is none that we know."""
    words = _words(text)
    named = [] if BARRED.search(words) else _named(words)
    return named[0] if named else UNKNOWN


def _named(words: str) -> list[str]:
    """The licenses that are named, the first one first."""
    found = [
        (match.start(), rank, name) for rank, (name, phrase) in enumerate(_COMPILED) if (match := phrase.search(words))
    ]
    return [name for _, _, name in sorted(found)]


def _words(text: str) -> str:
    return _NOT_WORD.sub(" ", text[:_MAX_TEXT].lower())


def license_of_code(text: str) -> str | None:
    """What a source file says of its own license: in a tag of its first 30 lines, else in a notice at its head.

    UNKNOWN, and not None, where that keeps others from copying it, or names a license that we do not know; both, where
    what was permitted comes with what must stay open and no choice is left.
    """
    head = "\n".join(text[:_TAG_CHARACTERS].split("\n", _TAG_LINES)[:_TAG_LINES])
    if tag := _TAG.search(head):
        return spelt(tag[1])
    words = NOT_OURS.sub(" ", _words(head))
    if BARRED.search(words):
        return UNKNOWN
    named = _named(words)
    some = [UNKNOWN] if SOME.search(words) else []
    if not named:
        return UNKNOWN if some else None
    strict = [each for each in named if each not in PERMISSIVE] or some
    if strict and named[0] in PERMISSIVE and not CHOICE.search(words):
        return f"{named[0]} AND {strict[0]}"
    return named[0]


def stated_license(text: str) -> str | None:
    """What the metadata of a package state (PKG-INFO, pyproject.toml, Cargo.toml, package.json …).

    None if they state none, point elsewhere or are vague; UNKNOWN if it is one that we do not know.
    """
    text = text[:_MAX_TEXT]
    key = min(_KEY.finditer(text), key=lambda key: len(key[1]), default=None)  # the others are of what lies in it
    first = _FIRST_KEY.match(text)
    if key is None or (first and len(key[1]) > len(first[1])):
        return None
    stated = _STATED.match(text, key.start())
    expression = spelt(stated[1]) if stated else ""
    if expression and {each for each in _tokens(expression) if each not in _SIGNS} <= PERMISSIVE | _OTHERS:
        return expression
    return None if _VAGUE.match(text, key.end()) else UNKNOWN


_SIGNS = ("(", ")", "OR", "AND", "WITH")


def spelt(expression: str) -> str:
    """An expression as we write it; brackets that do not match are left out."""
    tokens = _tokens(expression)
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if depth < 0:
            break
    if depth:
        tokens = [token for token in tokens if token not in "()"]
    return " ".join(tokens).replace("( ", "(").replace(" )", ")")


def _tokens(expression: str) -> list[str]:
    found = [token.upper() if token.upper() in _SIGNS else token.lower() for token in _TOKEN.findall(expression)]
    return ["OR" if token == "/" else token for token in found]


def allows(expression: str, allowed: Set[str]) -> bool:
    """Whether one may go by allowed licenses alone: any side of an OR, and both of an AND; exceptions only add."""
    return _any_side(_tokens(expression), allowed)


def _any_side(tokens: list[str], allowed: Set[str]) -> bool:
    """Takes what it read off the tokens."""
    found = _both_sides(tokens, allowed)
    while tokens and tokens[0] == "OR":
        del tokens[0]
        found = _both_sides(tokens, allowed) or found
    return found


def _both_sides(tokens: list[str], allowed: Set[str]) -> bool:
    found = _one(tokens, allowed)
    while tokens and tokens[0] in ("AND", "WITH"):
        sign = tokens.pop(0)
        other = _one(tokens, allowed)
        found = found and (other or sign == "WITH")
    return found


def _one(tokens: list[str], allowed: Set[str]) -> bool:
    token = tokens.pop(0) if tokens else ""
    if token == "(":
        found = _any_side(tokens, allowed)
        del tokens[:1]
        return found
    return token in allowed or re.sub(r"(\+|-only|-or-later)$", "", token) in allowed
