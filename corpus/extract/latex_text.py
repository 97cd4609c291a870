r"""A LaTeX submission to text: prose, headings and lists as lines, formulas as LaTeX with the paper's macros expanded.

Comments, preamble, definitions, bibliography, tables and pictures are removed; captions and footnotes follow their
paragraph. Citations and references are removed without a gap. No TeX is run: what only TeX can compute is left out.
"""

from collections.abc import Mapping
from typing import NamedTuple

from corpus.extract.tex.expand import Expander, SubmissionFiles
from corpus.extract.tex.prose import prose_text


class LatexText(NamedTuple):
    """Text, and the names of input files that the submission lacks."""

    text: str
    missing: tuple[str, ...]


def latex_text(files: Mapping[str, bytes], main: str) -> LatexText:
    r"""Return the text of a submission; `files` holds its files by path, and `main` inputs the others.

    Time and memory are linear in the files. Raises UnreadableError("too_complex") if macros do not end.
    """
    submission = SubmissionFiles(files, main)
    text = prose_text(Expander(submission, main), preamble=b"\\begin{document}" in files[main])
    return LatexText(text, tuple(sorted(submission.missing)))
