"""Output text: paragraphs, headings, lists, formulas and notes, collected piece by piece and joined into lines."""

import re
from io import StringIO

from corpus.document import UnreadableError
from corpus.extract.headings import without_empty_headings

# Marks within the collected text; the lexer removes such characters from the source.
PAR, LINE, HEADING, REFERENCE, LITERAL = "\x01", "\x02", "\x03", "\x04", "\x05"
TOP = 9  # heading level of a title, which stays even if nothing follows
MAX_CAPTURES = 100  # within each other

# Words that are removed with a reference in brackets: "(see Section \ref{x})".
_WORDS = (
    "see also e.g. i.e. cf. and or in of the by from to section figure table equation Sections? Sects? Secs? Figures? "
    "Figs? Tables? Tabs? Equations? Eqs? Eqns? Lemmas? Theorems? Thms? Appendix Appendices Apps? Chapters? Chaps? "
    "References? Refs? Propositions? Props? Algorithms? Algs? Parts? Definitions? Defs? Corollary Remark Examples?"
)
_WORD = "|".join(sorted((word.replace(".", r"\.") for word in _WORDS.split(" ")), key=len, reverse=True))
# All repeats are bounded: unbounded ones would take unbounded memory.
_BRACKETS = re.compile(rf"([(\[])((?:(?:{_WORD})(?![a-zA-Z])|[ .,;:&§–{REFERENCE}-]){{0,400}})[)\]]")
_AT_BRACKET = re.compile(
    rf"(?<=[(\[])(?:{REFERENCE}[ ,;]*){{1,99}}|(?<![ ,;{REFERENCE}])(?:[ ,;]*{REFERENCE}){{1,99}}(?=[)\]])"
)
_REFERENCES = re.compile(
    rf"(?<![ §])[ §]*(?:\( ?{REFERENCE} ?\)|{REFERENCE})(?:[ ,;&–—-]*(?:\b(?:and|or|to)\b)?[ §]*{REFERENCE}){{0,99}}"
)
_BLOCK = re.compile(f"[^{PAR}]+")
_GAP = re.compile(r"\s+")
_LITERAL = re.compile(f"{LITERAL}(\\d+){LITERAL}")


class TextWriter:
    """Collects the text. Captured text (a heading, a note, a dropped environment) is not written in place."""

    def __init__(self) -> None:
        self._current = StringIO()
        self._outer: list[StringIO] = []  # texts around the capture
        self.notes: list[str] = []  # footnotes and captions, which become paragraphs after this one
        self._literals: list[str] = []

    def write(self, text: str) -> None:
        """Append text or marks."""
        self._current.write(text)

    def literal(self, text: str, inline: bool = False) -> None:
        """Append text whose characters and line ends are kept: code and displayed formulas."""
        if text.strip():
            self._literals.append(text.strip("\n"))
            mark = f"{LITERAL}{len(self._literals) - 1}{LITERAL}"
            self.write(mark if inline else f"{LINE}{mark}{LINE}")

    def heading(self, level: int, text: str) -> None:
        """Append a heading. It is omitted if no text follows, unless its level is TOP.

        Call `paragraph()` first; otherwise the notes of the heading come before it.
        """
        line = text.replace(PAR, " ").replace(LINE, " ").replace(HEADING, "")
        self.write(f"{PAR}{HEADING}{level}{line}{PAR}")

    def paragraph(self) -> None:
        """End the paragraph."""
        if not self._outer and self.notes:
            self.write("".join(f"{PAR}{note}" for note in self.notes))
            self.notes.clear()
        self.write(PAR)

    def open(self) -> int:
        """Begin a capture and return its depth."""
        if len(self._outer) >= MAX_CAPTURES:
            raise UnreadableError("too_complex")
        self._outer.append(self._current)
        self._current = StringIO()
        return len(self._outer) - 1

    def close(self, depth: int) -> str:
        """End the capture of this depth and those left open within it; return the captured text."""
        captured = ""
        while len(self._outer) > depth:
            captured = self._current.getvalue() + captured
            self._current = self._outer.pop()
        return captured

    def text(self) -> str:
        """Return all of the text, with blank lines between paragraphs."""
        self.close(0)
        self.paragraph()
        blocks = (self._block(match[0]) for match in _BLOCK.finditer(self._current.getvalue()))
        return "\n\n".join(text for _, text in without_empty_headings(block for block in blocks if block[1]))

    def _block(self, block: str) -> tuple[int, str]:
        """Return the heading level (0: text) and the lines of a paragraph; empty for one that holds only references."""
        level, block = (int(block[1]), block[2:]) if block.startswith(HEADING) else (0, block)
        lines = [line for raw in block.split(LINE) if (line := self._line(raw))]
        return 0 if level == TOP else level, "\n".join(lines)

    def _line(self, line: str) -> str:
        """Return a line without references, and without brackets that held nothing else."""
        line = _GAP.sub(" ", line.replace(HEADING, ""))
        if REFERENCE in line:
            line = _BRACKETS.sub(lambda match: REFERENCE if REFERENCE in match[2] else match[0], line)
            line = _REFERENCES.sub("", _AT_BRACKET.sub("", line))
        return _LITERAL.sub(lambda match: self._literals[int(match[1])], line.strip())
