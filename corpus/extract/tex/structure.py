r"""What a document consists of: preamble, title, abstract, headings, notes, and where it ends."""

from collections.abc import Callable

from corpus.extract.tex.commands import SECTIONS
from corpus.extract.tex.groups import Groups
from corpus.extract.tex.tokens import Tokens
from corpus.extract.tex.writer import TOP, Writer

_ABSTRACT_LEVEL = SECTIONS["section"]


class Document:
    r"""The parts of the text that have a place of their own. A preamble is everything before \begin{document}."""

    def __init__(self, tokens: Tokens, writer: Writer, groups: Groups, preamble: bool) -> None:
        self._tokens, self._writer, self._groups = tokens, writer, groups
        self._preamble = writer.open() if preamble else None
        self._standalone: list[int] = []  # how deep the files lie that are documents of their own (\subfile)
        self._begun = False
        self._title = self._abstract = ""
        self.handlers: dict[str, Callable[[], object]] = {
            **dict.fromkeys(("\\documentclass", "\\documentstyle"), self._class),
            "\\title": self._titled,
            "\\abstract": self._abstract_command,
            **dict.fromkeys(("\\footnote", "\\footnotetext", "\\endnote", "\\marginpar"), self._note),
            **dict.fromkeys(("\\caption", "\\subcaption", "\\tablecaption", "\\figcaption"), self._note),
            "\\captionof": self._caption_of,
        }
        for name, level in SECTIONS.items():
            self.handlers[f"\\{name}"] = self._section(level)

    def begin(self) -> None:
        """The preamble ends, and leaves a title and perhaps an abstract."""
        if self._preamble is None:
            return
        self._begun = True
        self._writer.close(self._preamble)
        self._writer.forget_notes()
        self._preamble = None
        if self._title:
            self._writer.heading(TOP, self._title)
        if self._abstract:
            self._writer.heading(_ABSTRACT_LEVEL, "Abstract")
            self._writer.write(self._abstract)
            self._writer.paragraph()
        self._title = self._abstract = ""

    def end(self) -> None:
        r"""\end{document}: nothing behind it counts, but in the files around a document within a document."""
        if self._standalone and self._standalone[-1] == len(self._tokens.frames):
            self._standalone.pop()
            self._tokens.close()
            return
        while self._tokens.frames:
            self._tokens.close()

    def begin_abstract(self) -> int | None:
        """Its heading; in a preamble, which keeps it for later, the writer's depth to close at its end."""
        if self._preamble is not None:
            return self._writer.open()
        self._writer.paragraph()
        self._writer.heading(_ABSTRACT_LEVEL, "Abstract")
        return None

    def end_abstract(self, depth: int | None) -> None:
        """What `begin_abstract` began ends."""
        if depth is not None:
            self._abstract = self._writer.close(depth)

    def _abstract_command(self) -> None:
        if self._tokens.peek() == "{":
            depth = self.begin_abstract()
            self._groups.argument(lambda: self.end_abstract(depth))

    def _class(self) -> None:
        for skip in (self._tokens.optional, self._tokens.skip_argument, self._tokens.optional):
            skip()
        depth = len(self._tokens.frames)
        if depth > 1 and "\\begin{document}" in self._tokens.frames[-1].scanner.text:
            self._standalone.append(depth)
        elif self._begun:  # the text speaks of it
            return
        if self._preamble is None:
            self._preamble = self._writer.open()

    def _titled(self) -> None:
        self._tokens.optional()
        self._writer.paragraph()
        self._groups.captured(self._title_found)

    def _title_found(self, title: str) -> None:
        if self._preamble is None:
            self._writer.heading(TOP, title)
        else:
            self._title = title

    def _section(self, level: int) -> Callable[[], None]:
        def read() -> None:
            self._tokens.star()
            self._tokens.optional()
            self._writer.paragraph()
            self._groups.captured(lambda title: self._writer.heading(level, title))

        return read

    def _note(self) -> None:
        self._tokens.star()
        self._tokens.optional()
        self._groups.captured(self._writer.note)

    def _caption_of(self) -> None:
        self._tokens.star()
        self._tokens.skip_argument()
        self._note()
