"""Text of real papers, compared with passages that a reader of their TeX expects, in their order."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from corpus.extract.latex_text import latex_text
from tests.corpus.sources.arxiv_passages import BRAUER_ABSENT, BRAUER_PASSAGES, S2ORC_ABSENT, S2ORC_PASSAGES
from tests.corpus.sources.submissions import S2ORC, STACKS, unpacked

PAPERS = [
    (S2ORC, "S2ORC: The", "layer 9 of S2ORC-SciBERT.", S2ORC_PASSAGES, S2ORC_ABSENT),
    (STACKS[1], "Brauer groups\n\nIntroduction", "see Theorem.", BRAUER_PASSAGES, BRAUER_ABSENT),
]


def made(data: Path, identity: str) -> str:
    return latex_text(unpacked(data, identity), "main.tex").text


@pytest.mark.parametrize(("identity", "first", "last", "passages", "absent"), PAPERS, ids=[S2ORC, STACKS[1]])
def test_the_text_is_the_prose_in_order(
    data: Path, identity: str, first: str, last: str, passages: str, absent: str
) -> None:
    text = made(data, identity)
    assert text.startswith(first) and text.endswith(last)
    place = 0
    for passage in passages.split("\n"):
        found = text.find(passage, place)
        assert found >= 0, f"{passage!r} is missing behind {text[max(place - 80, 0) : place]!r}"
        place = found + len(passage)
    assert [each for each in absent.split("\n") if each in text] == []


_NAMES = """newcommand renewcommand def let usepackage documentclass documentstyle bibitem bibliography
    bibliographystyle DeclareMathOperator newenvironment newtheorem input include section subsection label cite citep
    ref eqref item maketitle setlength footnote caption"""
_ENVIRONMENTS = "document itemize enumerate tabular figure table proof lemma thebibliography"
LEFT = rf"\\(?:{'|'.join(_NAMES.split())})\b|\\begin\{{(?:{'|'.join(_ENVIRONMENTS.split())})|thebibliography"


@pytest.mark.parametrize("identity", [S2ORC, *STACKS])
def test_no_definition_preamble_or_bibliography_is_left(data: Path, identity: str) -> None:
    text = made(data, identity)
    assert re.findall(LEFT, text) == []
    formula = r"\$\$.*?\$\$|\$[^$]*\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}"
    prose = re.sub(formula, "F", text, flags=re.DOTALL)
    assert re.findall(r"\\[a-zA-Z]+|[{}$~\x00-\x09]|  | [);]|\( |\(\)|\n\n\n", prose) == []


_WITH_KEYS = r"cite[a-z]*|ref|label|url|input|bibliography\w*|begin|end|includegraphics|href"
ARGUMENTS = rf"\\(?:{_WITH_KEYS})(?:\[[^]]*\])*\{{[^}}]*\}}(?:\[(?:[a-z][^]]*=[^]]*|noitemsep)\])?"
_REFERRED = "Section Sections Lemma Lemmas Example Examples Figure Table Theorem Remark also"
REFERRED = set(_REFERRED.split())  # in brackets with a reference they go with it


@pytest.mark.parametrize("identity", [S2ORC, *STACKS])
def test_no_word_of_the_prose_is_lost(data: Path, identity: str) -> None:
    """Compare with words taken from the source by simple means: all outside formulas, commands and tables."""
    source = unpacked(data, identity)["main.tex"].decode()
    source = re.sub(r"(?<!\\)%.*", "", source[source.index("\\begin{document}") :])
    for gone in (r"\\begin\{(tabular|equation\*?|align\*?)\}.*?\\end\{\1\}", r"\$\$.*?\$\$", r"\$[^$]*\$", ARGUMENTS):
        source = re.sub(gone, " ", source, flags=re.DOTALL)
    source = re.sub(r"\\[\"'`^]", "", source)  # accents: étale is compared as etale
    words = Counter(re.findall(r"[a-zA-Z]{4,}", re.sub(r"\\(?:[a-zA-Z]+|.)", " ", source)))
    text = "".join(
        each for each in unicodedata.normalize("NFD", made(data, identity)) if not unicodedata.combining(each)
    )
    there = Counter(re.findall(r"[a-zA-Z]{4,}", text))
    lost = {word: count - there[word] for word, count in words.items() if count > there[word] and word not in REFERRED}
    assert words.total() > 1500
    assert sum(lost.values()) <= 2, lost  # the heading of a section that holds nothing but a table
