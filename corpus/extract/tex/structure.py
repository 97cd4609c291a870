r"""Structure of a document: groups, environments, preamble, title, abstract, sections and notes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from corpus.document import UnreadableError
from corpus.extract.tex.commands import DROPPED_ENVIRONMENTS, ENVIRONMENTS, MATH_ENVIRONMENTS, SECTIONS, THEOREMS
from corpus.extract.tex.expand import Expander
from corpus.extract.tex.formulas import Formulas
from corpus.extract.tex.writer import LINE, TOP, TextWriter

MAX_OPEN = 1000  # environments within each other
REACH = 20  # environments left open within one that ends; an \end further out is ignored
_ABSTRACT_LEVEL = SECTIONS["section"]
_LISTS = ("itemize", "compactitem", "enumerate", "compactenum", "description", "list", "trivlist", "inparaenum")
_FOOTNOTES = ("\\footnote", "\\footnotetext", "\\endnote", "\\marginpar")
_NOTES = (*_FOOTNOTES, "\\caption", "\\subcaption", "\\tablecaption", "\\figcaption")


Action = Callable[[], object]


class _OpenEnvironment(NamedTuple):
    name: str
    end: list[str]  # replacement text of the paper for its end
    captured: Action | None  # ends the capture of its text; None if the text is written directly


class Structure:
    r"""Handlers of the commands that structure the text. The preamble is all before \begin{document}."""

    def __init__(self, expander: Expander, writer: TextWriter, formulas: Formulas, preamble: bool) -> None:
        self._tokens, self._definitions = expander.tokens, expander.definitions
        self._writer, self._formulas = writer, formulas
        self._groups: list[Action | None] = []  # open groups, with what to do at their end
        self._environments: list[_OpenEnvironment] = []
        self._items: list[int] = []  # the last number of each open list; -1 if its items are not numbered
        self._preamble = writer.open() if preamble else None  # the capture that holds it
        self._subfiles: list[int] = []  # depth in the input stack of documents within the document (\subfile)
        self._begun = False
        self._title = self._abstract = ""
        self.handlers: dict[str, Action] = {
            "{": lambda: self._groups.append(None),
            "}": self._end_group,
            "\\begin": self._begin,
            "\\end": self._end,
            "\\item": self._item,
            **dict.fromkeys(("\\documentclass", "\\documentstyle"), self._documentclass),
            "\\title": self._title_command,
            "\\abstract": self._abstract_command,
            **dict.fromkeys(_NOTES, partial(self._note, "so")),
            "\\captionof": partial(self._note, "smso"),
            **{f"\\{name}": partial(self._section, level) for name, level in SECTIONS.items()},
        }

    # Groups. An argument that is text is read in place, as a group with an action at its end.

    def finish(self) -> None:
        """End the groups that were never closed."""
        while self._groups:
            self._end_group()

    def _end_group(self) -> None:
        if self._groups and (action := self._groups.pop()) is not None:
            action()

    def _read_argument(self, action: Action | None) -> None:
        self._tokens.skip_space()
        if (token := self._tokens.unit()) != "{":
            self._tokens.push([token, "}"] if token and token != "}" else ["}"])
        self._groups.append(action)

    def _capture(self, use: Callable[[str], object]) -> Action:
        """Capture the text from here on; return the action that ends the capture and uses its text."""
        depth = self._writer.open()
        return lambda: use(self._writer.close(depth))

    # Environments.

    def _begin(self) -> None:
        name, definitions = self._tokens.word(), self._definitions
        end: list[str] = []
        captured: Action | None = None
        if len(self._environments) >= MAX_OPEN:
            raise UnreadableError("too_complex")
        if name == "document":
            self._begin_document()
            return
        if name in definitions.environments:
            begin_macro, end_macro = definitions.environments[name]
            end = end_macro.body
            self._tokens.push(begin_macro.expand(self._tokens))
        elif name.rstrip("*") in MATH_ENVIRONMENTS:
            self._formulas.display("", name)
            return
        elif name == "abstract":
            captured = self._begin_abstract()
        elif name in DROPPED_ENVIRONMENTS:
            captured = self._capture(lambda text: None)
        elif f"\\{name}" in definitions.macros and name not in definitions.theorems:
            end = [f"\\end{name}"]
            self._tokens.push([f"\\{name}"])
        elif name in definitions.theorems or name.rstrip("*") in THEOREMS:
            self._theorem(name)
        else:
            self._boundary()
            if name.rstrip("*") in _LISTS:
                self._items.append(0 if "enum" in name else -1)
            self._tokens.optional()
            self._tokens.skip(ENVIRONMENTS.get(name, ""))
        self._environments.append(_OpenEnvironment(name, end, captured))

    def _boundary(self) -> None:
        """Begin a new paragraph or, within a list, a new line."""
        if self._items:
            self._writer.write(LINE)
        else:
            self._writer.paragraph()

    def _theorem(self, name: str) -> None:
        title = self._definitions.theorems.get(name) or THEOREMS.get(name.rstrip("*"), "")
        self._writer.paragraph()
        note = self._tokens.optional()
        if note and name == "proof":  # Proof of Theorem 1
            self._tokens.push(["{", *note, "}", ".", " "])
        else:
            self._tokens.push([title, *([" (", "{", *note, "}", ")"] if note else []), ". "])

    def _end(self) -> None:
        name = self._tokens.word()
        if name == "document":
            self._end_document()
        elif any(environment.name == name for environment in self._environments[-REACH:]):
            while self._close(self._environments.pop()) != name:
                pass

    def _close(self, ended: _OpenEnvironment) -> str:
        if ended.name.rstrip("*") in _LISTS and self._items:
            self._items.pop()
        if ended.captured:
            ended.captured()
        elif ended.end:
            self._tokens.push(ended.end)
        else:
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

    # Preamble, title, abstract, sections and notes.

    def _begin_document(self) -> None:
        """End the preamble, and write the title and the abstract that it holds."""
        if self._preamble is None:
            return
        self._begun = True
        self._writer.close(self._preamble)
        self._writer.notes.clear()  # they belong to no paragraph
        self._preamble = None
        if self._title:
            self._writer.heading(TOP, self._title)
        if self._abstract:
            self._writer.heading(_ABSTRACT_LEVEL, "Abstract")
            self._writer.write(self._abstract)
            self._writer.paragraph()
        self._title = self._abstract = ""

    def _end_document(self) -> None:
        """Skip all that follows; after a document within the document, only the rest of its file."""
        if self._subfiles and self._subfiles[-1] == len(self._tokens.files):
            self._subfiles.pop()
            self._tokens.close()
        else:
            self._tokens.files.clear()

    def _begin_abstract(self) -> Action | None:
        """Write the heading; in a preamble, capture the abstract for later and return the action at its end."""
        if self._preamble is not None:
            return self._capture(self._keep_abstract)
        self._writer.paragraph()
        self._writer.heading(_ABSTRACT_LEVEL, "Abstract")
        return None

    def _keep_abstract(self, abstract: str) -> None:
        self._abstract = abstract

    def _abstract_command(self) -> None:
        if self._tokens.peek() == "{":
            self._read_argument(self._begin_abstract())

    def _documentclass(self) -> None:
        self._tokens.skip("omo")
        depth = len(self._tokens.files)
        if depth > 1 and "\\begin{document}" in self._tokens.files[-1].text:
            self._subfiles.append(depth)
        elif self._begun:  # the text is about the command
            return
        if self._preamble is None:
            self._preamble = self._writer.open()

    def _title_command(self) -> None:
        self._tokens.optional()
        self._writer.paragraph()
        self._read_argument(self._capture(self._set_title))

    def _set_title(self, title: str) -> None:
        if self._preamble is None:
            self._writer.heading(TOP, title)
        else:
            self._title = title

    def _section(self, level: int) -> None:
        self._tokens.skip("so")
        self._writer.paragraph()
        self._read_argument(self._capture(partial(self._writer.heading, level)))

    def _note(self, before: str) -> None:
        self._tokens.skip(before)
        self._read_argument(self._capture(self._writer.notes.append))
