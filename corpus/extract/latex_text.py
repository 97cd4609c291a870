r"""A LaTeX submission to text: prose, headings and lists as lines, formulas as LaTeX with the paper's macros expanded.

Comments, preamble, definitions, bibliography, tables and pictures are removed; captions and footnotes follow their
paragraph. Citations and references are removed without a gap. No TeX is run: what only TeX can compute is left out.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from corpus.extract.tex.commands import COMMANDS, reference_arguments
from corpus.extract.tex.expand import Expander, SubmissionFiles
from corpus.extract.tex.formulas import Formulas
from corpus.extract.tex.lexer import BLOCK, LITERAL, PAR
from corpus.extract.tex.macros import read_assignment, read_number
from corpus.extract.tex.structure import Structure
from corpus.extract.tex.symbols import ACCENTS, SPACES, SYMBOLS, accented, with_ligatures
from corpus.extract.tex.writer import LINE, REFERENCE, TextWriter

_NO_SPACE_BEFORE = (  # Source: xspace.sty
    *("{", "}", "~", ".", "!", ",", ":", ";", "?", "/", "'", ")", "-", " ", "\n"),
    *("\\/", "\\ ", "\\footnote", "\\xspace", "\\bgroup", "\\egroup", "\\space"),
)


class LatexText(NamedTuple):
    """Text, and the names of input files that the submission lacks."""

    text: str
    missing: tuple[str, ...]


def latex_text(files: Mapping[str, bytes], main: str) -> LatexText:
    r"""Return the text of a submission; `files` holds its files by path, and `main` inputs the others.

    Time and memory are linear in the files. Raises UnreadableError("too_complex") if macros do not end.
    """
    submission = SubmissionFiles(files, main)
    text = _Prose(Expander(submission, main), preamble=b"\\begin{document}" in files[main]).text()
    return LatexText(text, tuple(sorted(submission.missing)))


class _Prose:
    def __init__(self, expander: Expander, preamble: bool) -> None:
        self._expander, self._tokens, self._macros = expander, expander.tokens, expander.definitions.macros
        self._writer = TextWriter()
        formulas = Formulas(expander, self._writer)
        self._structure = Structure(expander, self._writer, formulas, preamble)
        self._handlers: dict[str, Callable[[], object]] = {
            "$": lambda: formulas.display("$$") if self._tokens.take("$") else formulas.inline("$"),
            **dict.fromkeys(("~", "&"), lambda: self._writer.write(" ")),
            PAR: self._writer.paragraph,
            "\\(": lambda: formulas.inline("\\)"),
            "\\[": lambda: formulas.display("\\]"),
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
