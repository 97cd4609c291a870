"""Licenses of code: recognized from a LICENSE text, an SPDX tag or the metadata of a package.

Licenses are written as SPDX expressions with names in lower case, as on Hugging Face: `mit`, `apache-2.0 OR mit`.
"""

import re
from collections.abc import Set
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from license_expression import LicenseExpression

UNKNOWN = "other"  # a stated license that is not in our lists or cannot be parsed

# Licenses that ask for notices at most. Source: Blue Oak Council's list of permissive licenses, the common ones.
_PERMISSIVE = """
    0bsd afl-3.0 apache-2.0 artistic-2.0 blueoak-1.0.0 bsd-1-clause bsd-2-clause bsd-2-clause-patent bsd-3-clause
    bsl-1.0 cc0-1.0 curl hpnd icu isc json libpng libpng-2.0 mit mit-0 mit-cmu ms-pl mulanpsl-2.0 ncsa openssl
    postgresql psf-2.0 python-2.0 ruby tcl unicode-3.0 unlicense upl-1.0 vim w3c wtfpl x11 zlib
"""
# Other licenses that are accepted from metadata.
_CONDITIONAL = """
    agpl-3.0 agpl-3.0-only agpl-3.0-or-later apache-1.1 artistic-1.0 bsd-4-clause cc-by-3.0 cc-by-4.0 cc-by-nc-4.0
    cc-by-nc-sa-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cddl-1.0 cecill-2.1 epl-1.0 epl-2.0 eupl-1.2 gpl-2.0 gpl-2.0-only
    gpl-2.0-or-later gpl-3.0 gpl-3.0-only gpl-3.0-or-later lgpl-2.0 lgpl-2.1 lgpl-2.1-only lgpl-2.1-or-later lgpl-3.0
    lgpl-3.0-only lgpl-3.0-or-later mpl-1.1 mpl-2.0 ms-rl ofl-1.1 osl-3.0 zpl-2.1
"""
PERMISSIVE = frozenset(_PERMISSIVE.split())
_KNOWN = PERMISSIVE | frozenset(_CONDITIONAL.split())

# Phrases of LICENSE texts. They are matched in lower case, with each run of other characters as one space.
_GPL = r"(?:[al]?gpl )?(?:as published by the free software foundation )?(?:either )?(?:version |v)"
_OF_GPL = r"(?:0 )?(?:only )?(?:or (?:at your option )?(?:any )?later )?(?:version )?of the (?:gnu )?"
_UNDER = r"\b(?:under|licen[cs]ed?|terms|released|distributed|governed|copyright)(?: [a-z0-9]+){0,8}? "
_V = r"(?:version |v ?)?"
_HPND = "permission to use copy modify and distribute this software and its documentation for any purpose"
_GNU = (
    ("agpl-3.0", "3", "affero "),
    ("lgpl-3.0", "3", "lesser "),
    ("lgpl-2.1", "2 1", "lesser "),
    ("lgpl-2.0", "2", "(?:library|lesser) "),
    ("gpl-3.0", "3", ""),
    ("gpl-2.0", "2", ""),
)
_PHRASES = (  # of two that begin at the same word, the earlier line decides
    ("0bsd", r"with or without fee is hereby granted the software is provided as is"),
    ("isc", r"with or without fee is hereby granted provided that the above copyright notice and this permission"),
    ("mit-0", r"permission is hereby granted free of charge .{,400} to do so the software is provided as is"),
    ("bsl-1.0", r"boost software license version 1 0"),
    ("mit", r"permission is hereby granted free of charge to any person obtaining a copy of this software and"),
    ("mit", r"dual licensed under (?:the )?(?:terms of the )?mit\b"),
    ("mit", r"(?:licensed|released|distributed) under the (?:terms of the )?(?:mit|expat) (?:license|or)\b"),
    ("apache-2.0", r"apache license version 2 0"),
    ("apache-1.1", r"apache software license version 1 1"),
    ("bsd-4-clause", r"redistribution and use in source and binary forms .{,1200} advertising materials mentioning"),
    ("bsd-3-clause", r"redistribution and use in source and binary forms .{,1200} endorse"),
    ("bsd-2-clause", r"redistribution and use in source and binary forms with or without modification are permitted"),
    *((name, rf"gnu {kind}general public license {_GPL}{version}") for name, version, kind in _GNU),
    *((name, rf"version {version} {_OF_GPL}{kind}general public license") for name, version, kind in _GNU),
    *((name, rf"{_UNDER}{name.split('-')[0]} ?(?:v|version )?{version}") for name, version, _ in _GNU),
    ("mpl-2.0", rf"mozilla public license {_V}2 0"),
    ("mpl-2.0", rf"{_UNDER}mpl {_V}2 0"),
    ("mpl-1.1", rf"mozilla public license {_V}1 1"),
    ("epl-2.0", rf"eclipse public license {_V}2 0"),
    ("epl-1.0", rf"eclipse public license {_V}1 0"),
    ("cpl-1.0", rf"common public license {_V}1 0"),
    ("osl-3.0", rf"open software license (?:osl )?{_V}3 0"),
    ("unlicense", r"this is free and unencumbered software released into the public domain"),
    ("cc0-1.0", r"cc0 1 0 universal"),
    ("cc-by-sa-4.0", r"attribution share ?alike 4 0"),
    ("cc-by-4.0", r"attribution 4 0 international"),
    ("zlib", r"permission is granted to anyone to use this software for any purpose including commercial applications"),
    ("psf-2.0", r"python software foundation license version 2"),
    ("artistic-2.0", r"artistic license 2 0"),
    ("wtfpl", r"do what the fuck you want to public license"),
    ("ncsa", r"university of illinois ncsa open source license"),
    ("ofl-1.1", r"sil open font license version 1 1"),
    ("upl-1.0", r"universal permissive license"),
    ("ms-pl", r"microsoft public license"),
    ("ms-rl", r"microsoft reciprocal license"),
    ("cddl-1.0", r"common development and distribution license"),
    ("eupl-1.2", rf"(?:european union public licen[cs]e|{_UNDER}eupl) {_V}1 2"),
    ("cc-by-sa-4.0", rf"{_UNDER}cc by sa 4 0"),
    ("postgresql", rf"{_HPND} without fee and without a written agreement"),
    ("hpnd", _HPND),
)
_COMPILED = tuple((name, re.compile(phrase)) for name, phrase in _PHRASES)
# Source-available licenses by name: with a version, or after a word that introduces a license.
_SOURCE_AVAILABLE = (
    r"(?:business source license|functional source license|commons clause|elastic license|server side public license"
    r"|sspl|source available license|polyform [a-z]+|attribution non ?commercial)"
)
_COMMERCE = r"non ?commerci(?:al|ial)"
# Phrases that withhold permission. A text with one of them is UNKNOWN, whatever license it names besides.
_RESTRICTION = re.compile(
    rf"{_UNDER}(?:{_SOURCE_AVAILABLE}|cc by nc)|\b(?:{_SOURCE_AVAILABLE} (?:license )?(?:condition|{_V}[0-9])"
    rf"|(?:not|never)(?: be)?(?: used| permitted| allowed)? for commercial|{_COMMERCE} (?:use|purposes?) only"
    r"|(?:not|never) be used commercially"
    rf"|for {_COMMERCE} (?:use|purposes?|research)"
    rf"|for (?:[a-z]+ ){{0,6}}?(?:academic|research|non ?profit|personal) use"
    rf"|are permitted (?:solely )?for (?:[a-z]+ ){{0,6}}?(?:academic|research|non ?profit|{_COMMERCE})"
    r"|only be used with|must be accompanied by information on how to obtain complete source code"
    r"|no longer licensed under|is not licensed under"
    r"|with (?:the )?(?:following )?additional conditions"
    r"|modified version of the (?:apache|mit|bsd) licen[cs]e|end user licen[cs]e(?! agreements)"
    r"|commercial license agreement"
    r"|you may not (?:copy|modify|distribute|reverse|sell)(?! .{0,120}(?:except|at all|technological))"
    r"|(?:unpublished|proprietary(?: and)?) (?:proprietary|confidential)|confidential and proprietary"
    r"|proprietary (?:to(?! prevent)|property of|information of)"
    r"|intellectual property and proprietary rights|under (?:a|the|our) (?:[a-z0-9]+ )?proprietary license"
    r"|(?:this|these|all other|the rest|everything else|all else)"
    r"(?: (?:source|file|files|code|software|program|work|of|the)){0,5}"
    r" (?:is|are)(?: the)? (?:proprietary|confidential)(?! format| protocol)"
    r"|confidential (?:property|information) of|(?:strictly|company) confidential|trade secrets? of"
    r"|strictly (?:forbidden|prohibited)"
    r"|unauthorized (?:copying|reproduction|distribution|duplication|use)(?: or [a-z]+)* of (?:this|these|the|any)"
    r")\b"
)
_MAX_TEXT = 200_000  # characters of a license text or of metadata that are searched
_NOT_WORD = re.compile(r"[^a-z0-9]+")

_ID = r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}"
_OPERAND = rf"\({{0,3}}{_ID}\){{0,3}}"
_EXPRESSION = rf"{_OPERAND}(?:(?:[ \t]{{1,20}}(?:OR|AND|WITH)[ \t]{{1,20}}|/){_OPERAND}){{0,8}}"
_TAG = re.compile(rf"SPDX-License-Identifier:[ \t]{{0,20}}({_EXPRESSION})", re.IGNORECASE)
_TAG_LINES, _TAG_CHARACTERS = 30, 8000
_KEY = re.compile(r"^([ \t]{0,20})[\"']?licen[cs]e(?:-expression)?[\"']?[ \t]{0,20}[:=]", re.IGNORECASE | re.MULTILINE)
_FIRST_JSON_KEY = re.compile(r"\s{0,100}\{[ \t]{0,20}\r?\n([ \t]{0,20})\"")
_STATED = re.compile(
    r"^[ \t]{0,20}[\"']?licen[cs]e(?:-expression)?[\"']?[ \t]{0,20}[:=][ \t]{0,20}"
    r"(?:\{[ \t]{0,20}(?:text|\"?type\"?)[ \t]{0,20}[:=])?[ \t]{0,20}[\"']?"
    rf"({_EXPRESSION})(?: license)?[\"']?[ \t]{{0,20}}\}}?,?[ \t]{{0,20}}\r?$",
    re.IGNORECASE | re.MULTILINE,
)
# Values that point to another file or name a family of licenses without a version.
_VAGUE = re.compile(
    r"[ \t\"'\[{(]*(?:see\b|file\b|text\b|unknown|none|null|workspace|true|dual"
    r"|bsd|apache|mit\b|psf|python|public|osi|$)",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"[()]|[^\s()]+")
_OPERATORS = ("OR", "AND", "WITH")
_VERSIONS = re.compile(r"(\+|-only|-or-later)$")


def license_of_text(text: str) -> str:
    """Return the first license that a LICENSE text contains or names, or UNKNOWN."""
    words = _NOT_WORD.sub(" ", text[:_MAX_TEXT].lower())
    if _RESTRICTION.search(words):
        return UNKNOWN
    named = [
        (match.start(), rank, name) for rank, (name, phrase) in enumerate(_COMPILED) if (match := phrase.search(words))
    ]
    return min(named)[2] if named else UNKNOWN


def license_of_tag(code: str) -> str | None:
    """Return the expression of the SPDX tag in the first 30 lines of a source file; None without a tag."""
    head = "\n".join(code[:_TAG_CHARACTERS].split("\n", _TAG_LINES)[:_TAG_LINES])
    tag = _TAG.search(head)
    return spdx_expression(tag[1]) if tag else None


def license_of_metadata(text: str) -> str | None:
    """Return the license that package metadata state (PKG-INFO, pyproject.toml, Cargo.toml, package.json, …).

    None if they state none, point to another file or are vague; UNKNOWN if the license is not in our lists.
    """
    text = text[:_MAX_TEXT]
    # The least indented key is the package's own; others belong to the parts and dependencies it lists.
    key = min(_KEY.finditer(text), key=lambda match: len(match[1]), default=None)
    first = _FIRST_JSON_KEY.match(text)
    if key is None or (first and len(key[1]) > len(first[1])):
        return None
    stated = _STATED.match(text, key.start())
    expression = spdx_expression(stated[1]) if stated else UNKNOWN
    if {word for word in _WORD.findall(expression) if word not in ("(", ")", *_OPERATORS)} <= _KNOWN:
        return expression
    return None if _VAGUE.match(text, key.end()) else UNKNOWN


def spdx_expression(text: str) -> str:
    """Return an expression in our spelling, with `/` read as OR; UNKNOWN if it cannot be parsed.

    Brackets that do not match are removed: a tag may stand in the brackets of a sentence.
    """
    words = _WORD.findall(text.replace("/", " OR "))
    words = [word.upper() if word.upper() in _OPERATORS else word.lower() for word in words]
    for spelling in (words, [word for word in words if word not in "()"]):
        expression = " ".join(spelling).replace("( ", "(").replace(" )", ")")
        if _parsed(expression) is not None:
            return expression
    return UNKNOWN


def allows(expression: str, allowed: Set[str]) -> bool:
    """Return True if the allowed licenses suffice: one side of an OR, both sides of an AND. Exceptions only add."""
    tree = _parsed(spdx_expression(expression))
    return tree is not None and _satisfied(tree, allowed)


def _satisfied(node: "LicenseExpression", allowed: Set[str]) -> bool:
    from license_expression import LicenseWithExceptionSymbol

    if isinstance(node, LicenseWithExceptionSymbol):
        node = node.license_symbol
    if not node.args:
        return node.key in allowed or _VERSIONS.sub("", node.key) in allowed
    sides = [_satisfied(side, allowed) for side in node.args]
    return any(sides) if node.operator.strip() == "OR" else all(sides)


@lru_cache(maxsize=1000)
def _parsed(expression: str) -> "LicenseExpression | None":
    from license_expression import Licensing  # imported late: most sources have no use for it

    try:
        return Licensing().parse(expression)
    except Exception:  # beside its own errors: IndexError and AssertionError for brackets in odd places
        return None
