"""The text of a submission: prose as a reader of the page would see it, formulas as LaTeX."""

from collections.abc import Callable

from corpus.extract.tex.accents import ACCENTS, SPACES, SYMBOLS, accented, ligated
from corpus.extract.tex.commands import COMMANDS
from corpus.extract.tex.environments import Environments
from corpus.extract.tex.expand import Expander
from corpus.extract.tex.groups import Groups
from corpus.extract.tex.maths import Maths
from corpus.extract.tex.numbers import assigned, number
from corpus.extract.tex.references import referring
from corpus.extract.tex.scan import BLOCK, LITERAL, PAR
from corpus.extract.tex.structure import Document
from corpus.extract.tex.writer import LINE, REFERENCE, Writer

_NO_SPACE_BEFORE = (  # Source: xspace.sty
    *("{", "}", "~", ".", "!", ",", ":", ";", "?", "/", "'", ")", "-", " ", "\n"),
    *("\\/", "\\ ", "\\footnote", "\\xspace", "\\bgroup", "\\egroup", "\\space"),
)


class Prose:
    """Reads tokens to the end and writes the text."""

    def __init__(self, expander: Expander, preamble: bool) -> None:
        self._expander, self._tokens, self._macros = expander, expander.tokens, expander.definitions.macros
        self._writer, self._maths = Writer(), Maths(expander)
        self._groups = Groups(self._tokens, self._writer)
        document = Document(self._tokens, self._writer, self._groups, preamble)
        self._handlers: dict[str, Callable[[], object]] = {
            "{": self._groups.begin,
            "}": self._groups.end,
            "$": self._dollar,
            "~": lambda: self._writer.write(" "),
            "&": lambda: self._writer.write(" "),
            PAR: self._writer.paragraph,
            "\\(": lambda: self._inline("\\)"),
            "\\[": lambda: self._display("\\]"),
            "\\\\": self._line_break,
            "\\ensuremath": lambda: self._tokens.push(["$", *self._tokens.argument(), "$"]),
            "\\xspace": self._xspace,
            "\\char": self._character,
            **dict.fromkeys(("\\newline", "\\State", "\\STATE", "\\Statex"), lambda: self._writer.write(LINE)),
            **document.handlers,
            **Environments(expander, self._writer, self._maths, document).handlers,
        }

    def text(self) -> str:
        """Reads all of it. Raises UnreadableError("too_complex")."""
        write, handlers = self._writer.write, self._handlers
        while token := self._expander.next():
            first = token[0]
            if (handler := handlers.get(token)) is not None:
                if first == "\\" and token[-1].isalpha():
                    self._tokens.skip_space()
                handler()
            elif first == "\\":
                if token[-1].isalpha():
                    self._tokens.skip_space()
                self._command(token)
            elif first == LITERAL:
                self._writer.literal(token[2:], inline=not token.startswith(BLOCK))
            else:
                write(ligated(token))
        self._groups.finish()
        return self._writer.text()

    def _command(self, name: str) -> None:
        """A command that is about characters, or about layout, or unknown."""
        tokens = self._tokens
        if name in SPACES:
            self._writer.write(" ")
        elif (symbol := SYMBOLS.get(name)) is not None:
            self._writer.write(symbol)
        elif name in ACCENTS:
            letter, *rest = tokens.argument() or [""]
            if len(letter) > 1 and letter[0] != "\\":
                letter, rest = letter[0], [letter[1:], *rest]
            self._writer.write(accented(name, letter))
            tokens.push(rest)
        elif (spec := COMMANDS.get(name)) is not None:
            self._arguments(spec)
        elif (spec := referring(name)) is not None:
            tokens.skip(spec)
            self._writer.write(REFERENCE)
        else:
            tokens.star()
            tokens.optional()
            if tokens.take("="):
                assigned(tokens, self._macros)

    def _arguments(self, spec: str) -> None:
        """Passes over what is no text; an argument that is text comes next."""
        if spec == "=":
            assigned(self._tokens, self._macros)
            return
        before, _, after = spec.partition("k")
        self._tokens.skip(before)
        if after:
            shown = self._tokens.argument()
            self._tokens.skip(after)
            self._tokens.push(shown)

    def _dollar(self) -> None:
        if self._tokens.take("$"):
            self._display("$$")
        else:
            self._inline("$")

    def _inline(self, closing: str) -> None:
        source = self._maths.inline(closing)
        if source:
            self._writer.write(f"${source}$")

    def _display(self, closing: str) -> None:
        source = self._maths.display(closing)
        self._writer.literal(f"$${source}$$" if source else "")

    def _line_break(self) -> None:
        self._tokens.star()
        self._tokens.skip_space()
        self._tokens.optional()
        self._writer.write(LINE)

    def _xspace(self) -> None:
        if not self._tokens.peek().startswith(_NO_SPACE_BEFORE):
            self._writer.write(" ")

    def _character(self) -> None:
        code = int(number(self._tokens, self._macros))
        if 32 <= code < 0xD800:
            self._writer.write(chr(code))
