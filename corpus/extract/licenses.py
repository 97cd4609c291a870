"""Licenses of code: told from the text of a license, from a tag, and from what a package says of itself.

They are spelt as SPDX, in small letters as Hugging Face has them: `mit`, `gpl-2.0-or-later`, `apache-2.0 OR mit`.
"""

import re
from collections.abc import Set

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

_GPL = r"(?:[al]?gpl )?(?:as published by the free software foundation )?(?:either )?(?:version |v)"
_OF_GPL = r"(?:0 )?(?:only )?(?:or (?:at your option )?(?:any )?later )?(?:version )?of the (?:gnu )?"
# What introduces a license in few words: code may well speak of the GPL without.
_UNDER = r"\b(?:under|licen[cs]ed?|terms|released|distributed|copyright)(?: [a-z0-9]+){0,8}? "
_HPND = "permission to use copy modify and distribute this software and its documentation for any purpose"
# What is said in one license and no other, over words alone: letters are small, and what is no letter is one blank.
_PHRASES = (
    ("0bsd", r"with or without fee is hereby granted the software is provided as is"),
    ("isc", r"with or without fee is hereby granted provided that the above copyright notice and this permission"),
    ("mit-0", r"permission is hereby granted free of charge .{,400} to do so the software is provided as is"),
    ("bsl-1.0", r"boost software license version 1 0"),
    ("mit", r"permission is hereby granted free of charge to any person obtaining a copy of this software and"),
    ("mit", r"dual licensed under (?:the )?(?:terms of the )?mit\b"),
    ("mit", r"(?:licensed|released|distributed) under the (?:terms of the )?(?:mit|expat) license"),
    ("apache-2.0", r"apache license version 2 0"),
    ("apache-1.1", r"apache software license version 1 1"),
    ("bsd-4-clause", r"redistribution and use in source and binary forms .{,1200} advertising materials mentioning"),
    ("bsd-3-clause", r"redistribution and use in source and binary forms .{,1200} endorse"),
    ("bsd-2-clause", r"redistribution and use in source and binary forms with or without modification are permitted"),
    ("agpl-3.0", rf"gnu affero general public license {_GPL}3"),
    ("lgpl-3.0", rf"gnu lesser general public license {_GPL}3"),
    ("lgpl-2.1", rf"gnu lesser general public license {_GPL}2 1"),
    ("lgpl-2.0", rf"gnu (?:library|lesser) general public license {_GPL}2"),
    ("gpl-3.0", rf"gnu general public license {_GPL}3"),
    ("gpl-2.0", rf"gnu general public license {_GPL}2"),
    ("agpl-3.0", rf"version 3 {_OF_GPL}affero general public license"),
    ("lgpl-3.0", rf"version 3 {_OF_GPL}lesser general public license"),
    ("lgpl-2.1", rf"version 2 1 {_OF_GPL}lesser general public license"),
    ("lgpl-2.0", rf"version 2 {_OF_GPL}(?:library|lesser) general public license"),
    ("gpl-3.0", rf"version 3 {_OF_GPL}general public license"),
    ("gpl-2.0", rf"version 2 {_OF_GPL}general public license"),
    ("agpl-3.0", rf"{_UNDER}agpl ?(?:v|version )?3"),
    ("lgpl-3.0", rf"{_UNDER}lgpl ?(?:v|version )?3"),
    ("lgpl-2.1", rf"{_UNDER}lgpl ?(?:v|version )?2 1"),
    ("lgpl-2.0", rf"{_UNDER}lgpl ?(?:v|version )?2"),
    ("gpl-3.0", rf"{_UNDER}gpl ?(?:v|version )?3"),
    ("gpl-2.0", rf"{_UNDER}gpl ?(?:v|version )?2"),
    ("mpl-2.0", r"mozilla public license (?:version|v) 2 0"),
    ("mpl-1.1", r"mozilla public license version 1 1"),
    ("epl-2.0", r"eclipse public license (?:version |v )?2 0"),
    ("epl-1.0", r"eclipse public license (?:version |v )?1 0"),
    ("unlicense", r"this is free and unencumbered software released into the public domain"),
    ("cc0-1.0", r"cc0 1 0 universal"),
    ("cc-by-sa-4.0", r"attribution sharealike 4 0 international"),
    ("cc-by-4.0", r"attribution 4 0 international"),
    ("zlib", r"permission is granted to anyone to use this software for any purpose including commercial applications"),
    ("psf-2.0", r"python software foundation license version 2"),
    ("artistic-2.0", r"artistic license 2 0"),
    ("wtfpl", r"do what the fuck you want to public license"),
    ("ncsa", r"university of illinois ncsa open source license"),
    ("ofl-1.1", r"sil open font license version 1 1"),
    ("upl-1.0", r"universal permissive license"),
    ("ms-pl", r"microsoft public license"),
    ("cddl-1.0", r"common development and distribution license cddl version 1 0"),
    ("eupl-1.2", r"european union public licen[cs]e v 1 2"),
    ("postgresql", rf"{_HPND} without fee and without a written agreement"),
    ("hpnd", _HPND),
)
# Whatever else a text names, it is no license that we know with one of these.
_BARRED = re.compile(
    r"\b(?:business source license|functional source license|fsl 1 [01]|commons clause|elastic license"
    r"|server side public license|sspl|polyform (?:noncommercial|small business|shield|strict|internal use|perimeter)"
    r"|non ?commercial (?:use|purposes?|research)(?: purposes?)? only"
    r"|only for non ?commercial (?:use|purposes?|research)"
    r"|attribution non ?commercial|cc by nc|proprietary and confidential|confidential and proprietary"
    r"|(?:this|file|files|code|software|program|else|rest|work)(?: [a-z0-9]+){0,4} (?:is|are)(?: the)?"
    r" (?:proprietary|confidential)(?! format| protocol)"
    r"|(?:proprietary|confidential) (?:property|information) of|proprietary license"
    r"|(?:strictly|company) confidential|trade secrets? of"
    r"|unauthorized (?:copying|reproduction|distribution|duplication))\b"
)
_SOME_GPL = re.compile(rf"general public license|{_UNDER}[al]?gpl")
_COMPILED = tuple((name, re.compile(phrase)) for name, phrase in _PHRASES)
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
_TAG_LINES, _TAG_CHARACTERS = 30, 8000
_TOKEN = re.compile(r"[()]|[^\s()/]+|/")


def license_of_text(text: str) -> str:
    """The license that a text is, or first names; UNKNOWN if it is none that we know."""
    return _first(text) or UNKNOWN


def _first(text: str) -> str | None:
    words = _words(text)
    if _BARRED.search(words):
        return UNKNOWN
    found = [
        (match.start(), rank, name) for rank, (name, phrase) in enumerate(_COMPILED) if (match := phrase.search(words))
    ]
    return min(found)[2] if found else None


def _words(text: str) -> str:
    return _NOT_WORD.sub(" ", text[:_MAX_TEXT].lower())


def license_of_code(text: str) -> str | None:
    """What a source file says of its own license: in a tag of its first 30 lines, else in a notice at its head.

    UNKNOWN, and not None, where that keeps others from copying it, or names a GPL in words that we do not know.
    """
    head = "\n".join(text[:_TAG_CHARACTERS].split("\n", _TAG_LINES)[:_TAG_LINES])
    tag = _TAG.search(head)
    return spelt(tag[1]) if tag else _first(head) or (UNKNOWN if _SOME_GPL.search(_words(head)) else None)


def stated_license(text: str) -> str | None:
    """What the metadata of a package state (PKG-INFO, pyproject.toml, Cargo.toml, package.json …), if we know it."""
    text = text[:_MAX_TEXT]
    key = min(_KEY.finditer(text), key=lambda key: len(key[1]), default=None)  # the others are of what lies in it
    first = _FIRST_KEY.match(text)
    if key is None or (first and len(key[1]) > len(first[1])):
        return None
    stated = _STATED.match(text, key.start())
    expression = spelt(stated[1]) if stated else ""
    known = {each for each in _tokens(expression) if each not in _SIGNS} <= PERMISSIVE | _OTHERS
    return expression if expression and known else None


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
