r"""TeX source to tokens.

A token is a string: a control sequence (`\alpha`, `\%`), one of `{ } $ & ~ #`, a parameter (`#1`, `##1`), or a run of
other characters, of bounded length, with the spaces and single line ends in it. Comments are removed; a blank line is
`\par`. Verbatim text (`\verb`, verbatim environments, `\url`) is one token: LITERAL, INLINE or BLOCK, and the text.
"""

import re
from collections.abc import Container, Iterator

LITERAL = "\x01"  # first character of a verbatim token
INLINE, BLOCK = f"{LITERAL}i", f"{LITERAL}b"
PAR = "\\par"

_ENVIRONMENTS = "verbatim Verbatim BVerbatim lstlisting minted verbatimtab Code CodeInput CodeOutput"
VERBATIM = frozenset(_ENVIRONMENTS.split())
_HIDDEN = ("comment", "filecontents", "CCSXML", "luacode")  # environments whose content is no text

# All repeats are bounded or exclude what follows them, so that lexing takes linear time on any source.
_PATTERN = r"""
    (?P<run>RUN{1,999}(?:\n[ \t]{0,99}[^ \t\n\\{}$&#%~]RUN{0,999}){0,9} | \n[ \t]{0,99}(?![ \t\n])RUN{0,999})
  | (?P<par>\n[ \t\n]*\n[ \t]*)
  | (?P<verb>\\(?:verb|lstinline(?:\[[^\]\n]{0,200}\])?)\*?(?P<mark>[^a-zA-Z\s*{])(?P<code>.{0,400}?)(?P=mark))
  | (?P<url>\\(?:url|nolinkurl|path)[ ]*\{(?P<address>[^{}\\]{0,2000})\})
  | (?P<href>\\href[ ]*\{[^{}]{0,2000}\})
  | (?P<begin>\\begin[ ]*\{(?P<name>[a-zA-Z]{1,40}\*?)\})
  | (?P<token>\\(?:[LETTERS]+|[^LETTERS]|\Z) | \#{1,2}[1-9] | . | \n)
""".replace("RUN", r"[^\\{}$&#%~\n]")
_IN_DOCUMENT = re.compile(_PATTERN.replace("LETTERS", "a-zA-Z"), re.VERBOSE)
_IN_PACKAGE = re.compile(_PATTERN.replace("LETTERS", "a-zA-Z@"), re.VERBOSE)  # where @ is a letter
_COMMENT = re.compile(r"%[^\n]*(?:\n[ \t]*(?P<blank>\n[ \t\n]*)?)?")
_OPTIONS = re.compile(r"[ \t]*(?:\[[^\]]{0,2000}\])?(?:[ \t]*\{[^{}]{0,200}\})?[ \t]*(?:\n|\Z)")  # after \begin{…}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff]")


class Lexer:
    """Tokens of one file; `verbatim` names the environments that are not tokenized.

    `at_letter` (True if @ is a letter) and `verbatim` may change between any two tokens. Time is linear in the text.
    """

    def __init__(self, name: str, text: str, at_letter: bool = False, verbatim: Container[str] = VERBATIM) -> None:
        self.name, self.at_letter, self._verbatim = name, at_letter, verbatim
        self.text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        self.tokens = self._read()
        self.waiting: list[str] = []  # tokens that were pushed back in front of `tokens`, last first

    def _read(self) -> Iterator[str]:
        text, position, size = self.text, 0, len(self.text)
        never_closed: set[str] = set()  # environments without an end: else each \begin would search for it again
        while position < size:
            if text[position] == "%":
                match = _COMMENT.match(text, position)
                assert match is not None
                position = match.end()
                if match["blank"]:
                    yield PAR
                continue
            match = (_IN_PACKAGE if self.at_letter else _IN_DOCUMENT).match(text, position)
            assert match is not None, text[position : position + 20]
            kind, position = match.lastgroup, match.end()
            if kind in ("run", "token"):
                yield match[0]
            elif kind == "par":
                yield PAR
            elif kind in ("verb", "url"):
                yield INLINE + match["code" if kind == "verb" else "address"]
            elif kind == "begin":
                # A verbatim or hidden environment is one token up to its end; any other begins with `\begin`.
                name = match["name"]
                verbatim, hidden = name.rstrip("*") in self._verbatim, name.rstrip("*") in _HIDDEN
                special = (verbatim or hidden) and name not in never_closed
                end = text.find(f"\\end{{{name}}}", position) if special else -1
                if end < 0:
                    if special:
                        never_closed.add(name)
                    position = match.start() + len("\\begin")
                    yield "\\begin"
                    continue
                if verbatim:
                    options = _OPTIONS.match(text, position, end)
                    yield BLOCK + text[options.end() if options else position : end]
                position = end + len(name) + len("\\end{}")
