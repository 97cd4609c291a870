r"""A LaTeX submission to text: prose, headings and lists as lines, formulas as LaTeX with the paper's macros expanded.

Gone are comments, the preamble, definitions, the bibliography, tables and pictures; captions and footnotes follow the
paragraph. Citations and references leave nothing, and no gap. Nothing is run: what only TeX could know is left out.
"""

from collections.abc import Mapping
from typing import NamedTuple

from corpus.extract.tex.expand import Expander
from corpus.extract.tex.files import Files
from corpus.extract.tex.prose import Prose


class LatexText(NamedTuple):
    """The text, and the files that the submission names and does not hold."""

    text: str
    missing: tuple[str, ...]


def latex_text(files: Mapping[str, bytes], main: str) -> LatexText:
    r"""The text of the submission whose file `main` inputs the others, which are found by their paths in `files`.

    Time and memory are linear in the files. Raises UnreadableError("too_complex") where macros would not end.
    """
    submission = Files(files, main)
    expander = Expander(submission, main)
    preamble = b"\\begin{document}" in files[main]
    return LatexText(Prose(expander, preamble).text(), tuple(sorted(submission.missing)))
