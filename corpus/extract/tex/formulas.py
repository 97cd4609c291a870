r"""Formulas as LaTeX source: macros of the paper are expanded; labels, numbers and citations are removed."""

import re

from corpus.extract.tex.commands import MATH_ENVIRONMENTS
from corpus.extract.tex.expand import Expander
from corpus.extract.tex.lexer import LITERAL, PAR
from corpus.extract.tex.writer import TextWriter

_DROPPED = {  # with the form of their arguments, see commands.py
    **dict.fromkeys(("\\label", "\\ref", "\\eqref", "\\cref", "\\Cref", "\\index", "\\bibliography"), "m"),
    **dict.fromkeys(("\\cite", "\\citep", "\\citet", "\\citealt", "\\citeauthor", "\\citeyear"), "oom"),
    **dict.fromkeys(("\\footnote", "\\footnotetext", "\\color"), "om"),
    **dict.fromkeys(("\\tag", "\\vspace"), "sm"),
    **dict.fromkeys(("\\footnotemark", "\\allowdisplaybreaks"), "o"),
    **dict.fromkeys(("\\nonumber", "\\notag", "\\xspace", "\\ensuremath", "\\relax", "\\protect", "\\qedhere"), ""),
}
_BLANK_LINES = re.compile(r"[ \t]*\n\s*")


class Formulas:
    """Reads formulas whose opening is already read, and writes them."""

    def __init__(self, expander: Expander, writer: TextWriter) -> None:
        self._expander, self._tokens, self._writer = expander, expander.tokens, writer

    def inline(self, closing: str) -> None:
        r"""Read up to `$` or `\)`, or to the end of the paragraph, where TeX would stop too."""
        source = " ".join(self._source(closing, "").split())
        self._writer.write(f"${source}$" if source else "")

    def display(self, closing: str, environment: str = "") -> None:
        r"""Read up to `$$`, `\]` or the \end of the environment; the lines of the source are kept."""
        source = _BLANK_LINES.sub("\n", self._source(closing, environment)).strip()
        if MATH_ENVIRONMENTS.get(environment.rstrip("*"), True):
            formula = f"$${source}$$"
        else:
            formula = f"\\begin{{{environment}}}\n{source}\n\\end{{{environment}}}"
        self._writer.literal(formula if source else "")

    def _source(self, closing: str, environment: str) -> str:
        self._expander.conditionals.set_math(True)
        pieces: list[str] = []
        opened: list[str] = []  # environments within the formula; "" for those that the paper defines
        depth, last = 0, ""
        while token := self._expander.next():
            if token == "{":
                depth += 1
            elif token == "}":
                if not depth and not environment:  # the formula was never closed: this ends a group around it
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
                token = self._written(token, opened)
            # Expansion may join a control word and a letter that were apart in the source.
            if len(last) > 1 and last[0] == "\\" and last[-1].isalpha() and token[:1].isalpha():
                pieces.append(" ")
            pieces.append(token)
            last = token or last
        self._expander.conditionals.set_math(False)
        return "".join(pieces)

    def _closes(self, token: str, closing: str) -> bool:
        if token == "$" and closing in ("$$", "\\]"):
            return self._tokens.take("$")
        return token == closing

    def _written(self, token: str, opened: list[str]) -> str:
        """Return the source of a token, which may be empty."""
        if token in ("\\begin", "\\end"):
            return self._environment(token, self._tokens.word(), opened)
        if token == PAR:
            return "\n"
        if (arguments := _DROPPED.get(token)) is not None:
            self._tokens.skip(arguments)
            return ""
        return token[2:] if token[0] == LITERAL else token

    def _environment(self, command: str, name: str, opened: list[str]) -> str:
        r"""Return the source of a \begin or \end; empty for an environment of the paper, which is expanded."""
        defined = self._expander.definitions.environments.get(name)
        if command == "\\end":
            opened.pop()
        else:
            opened.append(name if defined is None else "")
        if defined is None:
            return f"{command}{{{name}}}" if name or command == "\\end" else ""
        begin, end = defined
        self._tokens.push(begin.expand(self._tokens) if command == "\\begin" else end.body)
        return ""
