r"""TeX source as tokens, one at a time.

A token is a string: a control sequence (`\alpha`, `\%`), one of `{ } $ & ~ #`, a parameter (`#1`, `##1`), or a run of
other characters, of bounded length, with the spaces and single line ends in it. Comments are gone; a blank line is
`\par`. What TeX reads letter by letter (`\verb`, verbatim environments, `\url`) is one token: LITERAL, INLINE or
BLOCK, and the letters.
"""

import re
from collections.abc import Container, Iterator

LITERAL = "\x01"  # before a token: its letters are text as they stand
INLINE, BLOCK = f"{LITERAL}i", f"{LITERAL}b"
PAR = "\\par"

_RUN = r"[^\\{}$&#%~\n]"
_PATTERN = r"""
    (?P<run>RUN{1,999}(?:\n[ \t]{0,99}[^ \t\n\\{}$&#%~]RUN{0,999}){0,9} | \n[ \t]{0,99}(?![ \t\n])RUN{0,999})
  | (?P<par>\n[ \t\n]*\n[ \t]*)
  | (?P<verb>\\(?:verb|lstinline(?:\[[^\]\n]{0,200}\])?)\*?(?P<mark>[^a-zA-Z\s*{])(?P<code>.{0,400}?)(?P=mark))
  | (?P<url>\\(?:url|nolinkurl|path)[ ]*\{(?P<address>[^{}\\]{0,2000})\})
  | (?P<href>\\href[ ]*\{[^{}]{0,2000}\})
  | (?P<begin>\\begin[ ]*\{(?P<name>[a-zA-Z]{1,40}\*?)\})
  | (?P<token>\\(?:[LETTERS]+|[^LETTERS]|\Z) | \#{1,2}[1-9] | . | \n)
"""
VERBATIM = (
    "verbatim",
    "Verbatim",
    "BVerbatim",
    "lstlisting",
    "minted",
    "verbatimtab",
    "Code",
    "CodeInput",
    "CodeOutput",
)
_HIDDEN = ("comment", "filecontents", "CCSXML", "luacode")
_COMMENT = re.compile(r"%[^\n]*(?:\n[ \t]*(?P<blank>\n[ \t\n]*)?)?")
_OPTIONS = re.compile(r"[ \t]*(?:\[[^\]]{0,2000}\])?(?:[ \t]*\{[^{}]{0,200}\})?[ \t]*(?:\n|\Z)")  # what follows \begin


def _pattern(letters: str) -> re.Pattern[str]:
    parts = (("RUN", _RUN), ("LETTERS", letters))
    spelt = _PATTERN
    for name, part in parts:
        spelt = spelt.replace(name, part)
    return re.compile(spelt, re.VERBOSE)


_OUTSIDE, _INSIDE = _pattern("a-zA-Z"), _pattern("a-zA-Z@")  # of a package, where @ is a letter
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff]")


class Scanner:
    """The tokens of one file; `verbatim` are the environments that are read letter by letter.

    Both it and `at_letter` may change between any two tokens. Time is linear in the text.
    """

    def __init__(self, text: str, at_letter: bool = False, verbatim: Container[str] = VERBATIM) -> None:
        self.text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        self.at_letter, self._verbatim = at_letter, verbatim

    def __iter__(self) -> Iterator[str]:
        text, position, size = self.text, 0, len(self.text)
        never_closed: set[str] = set()  # else each \begin of them would look through the rest again
        while position < size:
            if text[position] == "%":
                match = _COMMENT.match(text, position)
                assert match is not None
                position = match.end()
                if match["blank"]:
                    yield PAR
                continue
            match = (_INSIDE if self.at_letter else _OUTSIDE).match(text, position)
            assert match is not None, text[position : position + 20]
            kind, position = match.lastgroup, match.end()
            if kind in ("run", "token"):
                yield match[0]
            elif kind == "par":
                yield PAR
            elif kind == "verb":
                yield INLINE + match["code"]
            elif kind == "url":
                yield INLINE + match["address"]
            elif kind == "begin":
                name = match["name"]
                shown, hidden = name.rstrip("*") in self._verbatim, name.rstrip("*") in _HIDDEN
                end = text.find(f"\\end{{{name}}}", position) if (shown or hidden) and name not in never_closed else -1
                if end < 0:
                    if shown or hidden:
                        never_closed.add(name)
                    position = match.start() + len("\\begin")
                    yield "\\begin"
                    continue
                if shown:
                    options = _OPTIONS.match(text, position, end)
                    yield BLOCK + text[options.end() if options else position : end]
                position = end + len(name) + len("\\end{}")
