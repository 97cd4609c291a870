r"""\begin and \end: formulas, lists, theorems, what is dropped, and the paper's own environments."""

from collections.abc import Callable
from typing import NamedTuple

from corpus.document import UnreadableError
from corpus.extract.tex.commands import DROPPED_ENVIRONMENTS, ENVIRONMENTS, MATHS_ENVIRONMENTS, THEOREMS
from corpus.extract.tex.expand import Expander
from corpus.extract.tex.maths import Maths
from corpus.extract.tex.structure import Document
from corpus.extract.tex.writer import LINE, Writer

MAX_OPEN = 1000  # environments within each other
REACH = 20  # how many may have been left open within one that ends
_LISTS = ("itemize", "compactitem", "enumerate", "compactenum", "description", "list", "trivlist", "inparaenum")


class _Open(NamedTuple):
    name: str
    end: list[str]  # the paper's own code for its end
    capture: int | None  # the writer's depth before it, if it is written aside


class Environments:
    """The environments that are open."""

    def __init__(self, expander: Expander, writer: Writer, maths: Maths, document: Document) -> None:
        self._tokens, self._definitions = expander.tokens, expander.definitions
        self._writer, self._maths, self._document = writer, maths, document
        self._open: list[_Open] = []
        self._items: list[int] = []  # of the lists that are open: the last number, -1 where they are not counted
        self.handlers: dict[str, Callable[[], object]] = {
            "\\begin": self._begin,
            "\\end": self._end,
            "\\item": self._item,
        }

    def _begin(self) -> None:
        name, definitions, writer = self._tokens.word(), self._definitions, self._writer
        if len(self._open) >= MAX_OPEN:
            raise UnreadableError("too_complex")
        if name == "document":
            self._document.begin()
        elif name in definitions.environments:
            begin, end = definitions.environments[name]
            self._open.append(_Open(name, end.body, None))
            self._tokens.push(begin.expand(self._tokens))
        elif name.rstrip("*") in MATHS_ENVIRONMENTS:
            self._formula(name)
        elif name == "abstract":
            self._open.append(_Open(name, [], self._document.begin_abstract()))
        elif name in DROPPED_ENVIRONMENTS:
            self._open.append(_Open(name, [], writer.open()))
        elif f"\\{name}" in definitions.macros and name not in definitions.theorems:
            self._open.append(_Open(name, [f"\\end{name}"], None))
            self._tokens.push([f"\\{name}"])
        elif name in definitions.theorems or name.rstrip("*") in THEOREMS:
            self._theorem(name)
        else:
            self._open.append(_Open(name, [], None))
            self._boundary()
            if name.rstrip("*") in _LISTS:
                self._items.append(0 if "enum" in name else -1)
            self._tokens.optional()
            self._tokens.skip(ENVIRONMENTS.get(name, ""))

    def _boundary(self) -> None:
        """A new paragraph; within a list, a new line."""
        if self._items:
            self._writer.write(LINE)
        else:
            self._writer.paragraph()

    def _theorem(self, name: str) -> None:
        title = self._definitions.theorems.get(name) or THEOREMS.get(name.rstrip("*"), "")
        self._open.append(_Open(name, [], None))
        self._writer.paragraph()
        note = self._tokens.optional()
        if note and name == "proof":
            title, note = "", ["{", *note, "}", "."]  # Proof of Theorem 1
            self._tokens.push([*note, " "])
        else:
            self._tokens.push([title, *([" (", "{", *note, "}", ")"] if note else []), ". "])

    def _formula(self, name: str) -> None:
        source = self._maths.display("", name)
        kept_by_name = not MATHS_ENVIRONMENTS[name.rstrip("*")]
        shown = f"\\begin{{{name}}}\n{source}\n\\end{{{name}}}" if kept_by_name else f"$${source}$$"
        self._writer.literal(shown if source else "")

    def _end(self) -> None:
        name = self._tokens.word()
        if name == "document":
            self._document.end()
        elif any(each.name == name for each in self._open[-REACH:]):
            while self._ended(self._open.pop()) != name:
                pass

    def _ended(self, ended: _Open) -> str:
        if ended.name == "abstract":
            self._document.end_abstract(ended.capture)
        elif ended.capture is not None:
            self._writer.close(ended.capture)
        elif ended.end:
            self._tokens.push(ended.end)
        if ended.name.rstrip("*") in _LISTS and self._items:
            self._items.pop()
        if ended.capture is None and not ended.end:
            self._boundary()
        return ended.name

    def _item(self) -> None:
        label = self._tokens.optional()
        self._writer.write(LINE)
        if label is not None:
            self._tokens.push(["{", *label, "}", " "])
        if not self._items or (label is not None and self._items[-1] >= 0):
            return
        if self._items[-1] < 0:
            self._writer.write("- ")
        else:
            self._items[-1] += 1
            self._writer.write(f"{self._items[-1]}. ")
