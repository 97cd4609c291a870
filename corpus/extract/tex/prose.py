"""Text of a submission: prose as it is printed, formulas as LaTeX."""

from collections.abc import Callable

from corpus.extract.tex.commands import COMMANDS, reference_arguments
from corpus.extract.tex.expand import Expander
from corpus.extract.tex.formulas import FormulaReader
from corpus.extract.tex.lexer import BLOCK, LITERAL, PAR
from corpus.extract.tex.macros import read_assignment, read_number
from corpus.extract.tex.structure import Structure
from corpus.extract.tex.symbols import ACCENTS, SPACES, SYMBOLS, accented, with_ligatures
from corpus.extract.tex.writer import LINE, REFERENCE, TextWriter

_NO_SPACE_BEFORE = (  # Source: xspace.sty
    *("{", "}", "~", ".", "!", ",", ":", ";", "?", "/", "'", ")", "-", " ", "\n"),
    *("\\/", "\\ ", "\\footnote", "\\xspace", "\\bgroup", "\\egroup", "\\space"),
)


def prose_text(expander: Expander, preamble: bool) -> str:
    """Read all tokens and return the text; `preamble`: True if the main file begins with one."""
    return _Prose(expander, preamble).text()


class _Prose:
    def __init__(self, expander: Expander, preamble: bool) -> None:
        self._expander, self._tokens, self._macros = expander, expander.tokens, expander.definitions.macros
        self._writer, self._formulas = TextWriter(), FormulaReader(expander)
        self._structure = Structure(expander, self._writer, self._formulas, preamble)
        self._handlers: dict[str, Callable[[], object]] = {
            "$": lambda: self._display("$$") if self._tokens.take("$") else self._inline("$"),
            **dict.fromkeys(("~", "&"), lambda: self._writer.write(" ")),
            PAR: self._writer.paragraph,
            "\\(": lambda: self._inline("\\)"),
            "\\[": lambda: self._display("\\]"),
            "\\\\": self._line_break,
            "\\ensuremath": lambda: self._tokens.push(["$", *self._tokens.argument(), "$"]),
            "\\xspace": self._xspace,
            "\\char": self._char,
            **dict.fromkeys(("\\newline", "\\State", "\\STATE", "\\Statex"), lambda: self._writer.write(LINE)),
            **self._structure.handlers,
        }

    def text(self) -> str:
        while token := self._expander.next():
            control, handler = token[0] == "\\", self._handlers.get(token)
            if control and token[-1].isalpha():
                self._tokens.skip_space()
            if handler is not None:
                handler()
            elif control:
                self._command(token)
            elif token[0] == LITERAL:
                self._writer.literal(token[2:], inline=not token.startswith(BLOCK))
            else:
                self._writer.write(with_ligatures(token))
        self._structure.finish()
        return self._writer.text()

    def _command(self, name: str) -> None:
        """Write or skip a command for characters or layout, or one that is unknown."""
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
            self._skip_arguments(spec)
        elif (spec := reference_arguments(name)) is not None:
            tokens.skip(spec)
            self._writer.write(REFERENCE)
        else:
            tokens.star()
            tokens.optional()
            if tokens.take("="):
                read_assignment(tokens, self._macros)

    def _skip_arguments(self, spec: str) -> None:
        """Skip the arguments of a command that are not text; see commands.py."""
        if spec == "=":
            read_assignment(self._tokens, self._macros)
            return
        before, _, after = spec.partition("k")
        self._tokens.skip(before)
        if after:
            text = self._tokens.argument()
            self._tokens.skip(after)
            self._tokens.push(text)

    def _inline(self, closing: str) -> None:
        source = self._formulas.inline(closing)
        if source:
            self._writer.write(f"${source}$")

    def _display(self, closing: str) -> None:
        source = self._formulas.display(closing)
        self._writer.literal(f"$${source}$$" if source else "")

    def _line_break(self) -> None:
        self._tokens.star()
        self._tokens.skip_space()
        self._tokens.optional()
        self._writer.write(LINE)

    def _xspace(self) -> None:
        if not self._tokens.peek().startswith(_NO_SPACE_BEFORE):
            self._writer.write(" ")

    def _char(self) -> None:
        code = int(read_number(self._tokens, self._macros))
        if 32 <= code < 0xD800:
            self._writer.write(chr(code))
