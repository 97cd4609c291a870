"""What has been read, piece by piece, and how it becomes lines: paragraphs, headings, lists, formulas, notes."""

import re
from io import StringIO

from corpus.document import UnreadableError

PAR, LINE, HEADING, REFERENCE, LITERAL = "\x01", "\x02", "\x03", "\x04", "\x05"  # a scanner lets none of them through
TOP = 9  # the level of what is never left out, whatever follows
MAX_CAPTURES = 100  # within each other

_WORDS = (
    "see also e.g. i.e. cf. and or in of the by from to section figure table equation Sections? Sects? Secs? Figures? "
    "Figs? Tables? Tabs? Equations? Eqs? Eqns? Lemmas? Theorems? Thms? Appendix Appendices Apps? Chapters? Chaps? "
    "References? Refs? Propositions? Props? Algorithms? Algs? Parts? Definitions? Defs? Corollary Remark Examples?"
)
_WORD = "|".join(sorted((word.replace(".", r"\.") for word in _WORDS.split(" ")), key=len, reverse=True))
# Bounded, each: what repeats without end takes memory without end.
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


class Writer:
    """Collects the text. What is captured (a heading, a note, what is dropped) does not go to where it stands."""

    def __init__(self) -> None:
        self._written = StringIO()
        self._outer: list[StringIO] = []  # what is being written while something is captured
        self._notes: list[str] = []  # footnotes and captions, which follow the paragraph
        self._literals: list[str] = []

    def write(self, text: str) -> None:
        """Text, or marks."""
        self._written.write(text)

    def literal(self, text: str, inline: bool = False) -> None:
        """What keeps its letters and line ends: code, and formulas that stand by themselves."""
        if text.strip():
            self._literals.append(text.strip("\n"))
            mark = f"{LITERAL}{len(self._literals) - 1}{LITERAL}"
            self.write(mark if inline else f"{LINE}{mark}{LINE}")

    def heading(self, level: int, text: str) -> None:
        """A line of its own between blank lines; it goes if nothing stands below it, unless the level is TOP.

        The paragraph before is to have ended already: a heading's own notes follow it.
        """
        line = text.replace(PAR, " ").replace(LINE, " ").replace(HEADING, "")
        self.write(f"{PAR}{HEADING}{level}{line}{PAR}")

    def note(self, text: str) -> None:
        """A paragraph of its own behind this one."""
        self._notes.append(text)

    def forget_notes(self) -> None:
        """Those of a preamble belong to no paragraph."""
        self._notes.clear()

    def paragraph(self) -> None:
        """The paragraph ends here."""
        if not self._outer and self._notes:
            for note in self._notes:
                self.write(f"{PAR}{note}")
            self._notes.clear()
        self.write(PAR)

    def open(self) -> int:
        """What is written from here on is captured; gives the depth to return to."""
        if len(self._outer) >= MAX_CAPTURES:
            raise UnreadableError("too_complex")
        self._outer.append(self._written)
        self._written = StringIO()
        return len(self._outer) - 1

    def close(self, depth: int) -> str:
        """What has been captured since `open` gave this depth; captures left open within it are part of it."""
        captured = ""
        while len(self._outer) > depth:
            captured = self._written.getvalue() + captured
            self._written = self._outer.pop()
        return captured

    def text(self) -> str:
        """All of it as lines, once nothing more is to come."""
        self.close(0)
        self.paragraph()
        shown, headings = StringIO(), list[tuple[int, str]]()  # the headings that wait for what stands below them
        for found in _BLOCK.finditer(self._written.getvalue()):
            raw = found[0]
            level, paragraph = (int(raw[1]), raw[2:]) if raw.startswith(HEADING) else (0, raw)
            block = "\n".join(line for each in paragraph.split(LINE) if (line := self._line(each)))
            if not block:
                continue
            while level and headings and headings[-1][0] >= level:
                headings.pop()
            if level and level < TOP:
                headings.append((level, block))
                continue
            for line in (*(heading for _, heading in headings), block):
                shown.write(f"\n\n{line}")
            headings.clear()
        return shown.getvalue().lstrip("\n")

    def _line(self, line: str) -> str:
        """A line less the gaps where references and citations stood, and less the brackets that held nothing else."""
        line = _GAP.sub(" ", line.replace(HEADING, ""))
        if REFERENCE in line:
            line = _BRACKETS.sub(lambda match: REFERENCE if REFERENCE in match[2] else match[0], line)
            line = _REFERENCES.sub("", _AT_BRACKET.sub("", line))
        return _LITERAL.sub(lambda match: self._literals[int(match[1])], line.strip())
