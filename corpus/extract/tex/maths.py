r"""Formulas: LaTeX source with the paper's own macros expanded, less labels, numbers and citations."""

import re

from corpus.extract.tex.expand import Expander
from corpus.extract.tex.scan import LITERAL, PAR

_LEFT_OUT = {  # and how their arguments are written: see commands.py
    **dict.fromkeys(("\\label", "\\ref", "\\eqref", "\\cref", "\\Cref", "\\index", "\\bibliography"), "m"),
    **dict.fromkeys(("\\cite", "\\citep", "\\citet", "\\citealt", "\\citeauthor", "\\citeyear"), "oom"),
    **dict.fromkeys(("\\footnote", "\\footnotetext", "\\color"), "om"),
    **dict.fromkeys(("\\tag", "\\vspace"), "sm"),
    **dict.fromkeys(("\\footnotemark", "\\allowdisplaybreaks"), "o"),
    **dict.fromkeys(("\\nonumber", "\\notag", "\\xspace", "\\ensuremath", "\\relax", "\\protect", "\\qedhere"), ""),
}
_BLANK_LINES = re.compile(r"[ \t]*\n\s*")


class Maths:
    """Reads formulas from where they have been opened to where they close."""

    def __init__(self, expander: Expander) -> None:
        self._expander, self._tokens = expander, expander.tokens

    def inline(self, closing: str) -> str:
        r"""Up to `$` or `\)`, or to the end of the paragraph: TeX would not read on."""
        return " ".join(self._source(closing, "").split())

    def display(self, closing: str, environment: str = "") -> str:
        r"""Up to `$$`, `\]` or the environment's \end, line by line as in the source."""
        return _BLANK_LINES.sub("\n", self._source(closing, environment)).strip()

    def _source(self, closing: str, environment: str) -> str:
        self._expander.conditionals.maths(True)
        found: list[str] = []
        opened: list[str] = []  # environments within the formula
        depth, last = 0, ""
        while token := self._expander.next():
            if token == "{":
                depth += 1
            elif token == "}":
                if not depth and not environment:  # of a group around the formula: it was never closed
                    self._tokens.back(token)
                    break
                depth = max(depth - 1, 0)
            elif not depth and self._closes(token, closing):
                break
            elif token == PAR and closing in ("$", "\\)"):
                self._tokens.back(token)
                break
            elif token == "\\end" and not opened:
                if (name := self._tokens.word()) != environment:
                    self._tokens.push(["\\end", "{", name, "}"])
                break
            else:
                token = self._shown(token, opened)
            if len(last) > 1 and last[0] == "\\" and last[-1].isalpha() and token[:1].isalpha():
                found.append(" ")
            found.append(token)
            last = token or last
        self._expander.conditionals.maths(False)
        return "".join(found)

    def _closes(self, token: str, closing: str) -> bool:
        if token == "$" and closing in ("$$", "\\]"):
            return self._tokens.take("$")
        return token == closing

    def _shown(self, token: str, opened: list[str]) -> str:
        """What stands for the token in the source; it may be nothing."""
        if token == "\\begin":
            name = self._begin()
            opened.append(name or "")
            return f"\\begin{{{name}}}" if name else ""
        if token == "\\end":
            return self._end(self._tokens.word(), opened)
        if token == PAR:
            return "\n"
        if (spec := _LEFT_OUT.get(token)) is not None:
            self._tokens.skip(spec)
            return ""
        return token[2:] if token[0] == LITERAL else token

    def _begin(self) -> str:
        """The environment's name; "" for one that the paper defined, whose own code comes next."""
        name = self._tokens.word()
        defined = self._expander.definitions.environments.get(name)
        if defined is None:
            return name
        self._tokens.push(defined[0].expand(self._tokens))
        return ""

    def _end(self, name: str, opened: list[str]) -> str:
        defined = self._expander.definitions.environments.get(name)
        opened.pop()
        if defined is None:
            return f"\\end{{{name}}}"
        self._tokens.push(defined[1].body)
        return ""
