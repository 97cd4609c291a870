"""Hostile LaTeX ends, in bounded time and memory, with text or a reason."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.document import UnreadableError
from corpus.extract.latex_text import latex_text
from corpus.extract.tex import tokens
from corpus.extract.tex.commands import COMMANDS


def text_of(source: str, **files: str) -> str:
    encoded = {name.replace("_", "."): content.encode() for name, content in files.items()}
    return latex_text({"main.tex": source.encode(), **encoded}, "main.tex").text


DOUBLING = "".join(
    rf"\def\{a}{{\{b}\{b}}}" for a, b in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
)


@pytest.mark.parametrize(
    "source",
    [
        DOUBLING + r"\a",
        r"\def\a{\a}\a",
        r"\def\a{x\a}\a",
        r"\def\a{\b}\def\b{\a}$\a$",
        r"\def\a#1{\a{#1#1}}\a{x}",
        r"\def\a{\a\a}\a",
        r"\def\a#1{" + "#1" * 100_000 + r"}\a{" + "xy{z}" * 10_000 + "}",
        r"\newenvironment{a}{\begin{a}}{}\begin{a}",
        r"\section{" * 100_000,
        r"\footnote{" * 100_000,
        r"\begin{table}" * 100_000,
        r"\begin{x}" * 100_000,
        r"\iftrue " * 100_000,
        "".join(
            rf"\newif\if{'ab'[n % 2]}{chr(97 + n % 26)}{n:b}".replace("0", "c").replace("1", "d") for n in range(70_000)
        ),
        "".join(rf"\def\{f'{n:b}'.replace('0', 'c').replace('1', 'd')}{{}}" for n in range(70_000)),
        r"\newcommand{\f}[1]{#1}" + r"\f{" * 100_000,
    ],
    ids=lambda source: source[:24],
)
def test_endless_macros_are_too_complex(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(tokens, "MAX_PUSHED", 50_000)
    with pytest.raises(UnreadableError, match="too_complex"):
        text_of(source)


def test_few_tokens_of_many_characters_are_too_complex() -> None:
    with pytest.raises(UnreadableError, match="too_complex"):
        text_of(r"\newcommand{\a}{" + "x" * 20_000 + "}" + r"\a " * 1000)


def test_endless_inputs_are_too_complex() -> None:
    parts = {f"p{n}_tex": rf"{n} \input{{p{n + 1}}}\input{{p{n + 1}}}" for n in range(60)}
    with pytest.raises(UnreadableError, match="too_complex"):
        text_of(r"\input{p0}", **parts)


N = 200_000


@pytest.mark.parametrize(
    "source",
    [
        "{" * N,
        "{" * N + "}" * N,
        "}" * N,
        "$" * N,
        "$x " * N,
        "${" * N,
        "(" * N,
        r"(\ref{x} " * N,
        r"\ref{x}," * N,
        r"(\ref{x}, " * N + ")" * N,
        "§" * N + r"\ref{a}" + "§ " * N,
        "(" + "see " * N + r"\ref{x}",
        "a" + " " * N + r"\ref{x}",
        "\n" * N + "x",
        "\n " * N + "x",
        "a\n" + " " * N + "x",
        "%\n" * N,
        "ab\n\n" * N,
        "".join(rf"\verb{chr(0x4E00 + n % 20_000)}" for n in range(N // 4)),
        r"\begin{verbatim}" * (2 * N),
        r"\begin{align}" * (N // 4),
        r"\url{" * N,
        r"\iffalse " * N,
        r"\'" * N,
        r"\csname " * N,
        r"\newcommand" * N,
        r"\input{x}" * (N // 4),
        r"\input{main}" * (N // 4),
        r"\title{x}" * (N // 4),
        r"\foo[" * (N // 40),
        r"\NewDocumentCommand\f{" + "o" * N + "}{}",
        r"\count" + "-%\n" * N,
        "\\",
        "\\begin{",
        "\\verb",
        "",
    ],
    ids=lambda source: f"{source[:16]!r}",
)
def test_repeated_pieces_take_linear_time(source: str) -> None:
    """In quadratic time these would take hours."""
    try:
        assert isinstance(text_of(source), str)
    except UnreadableError as error:
        assert error.reason == "too_complex"


_SPELT = r"""
    { } [ ] $ $$ ( ) * = & ~ ^ _ # #1 ##1 \a \b \\ \( \) \[ \] \begin{a} \end{a} \begin{b} \end{b} \item \or
    \begin{align} \end{align} \begin{itemize} \end{itemize} \begin{table} \end{table} \begin{document} \fi
    \end{document} \documentclass \def \let \newcommand \newenvironment \newif \ifx \ifnum \ifcase \else
    \unless \iftrue \ifa \atrue \csname \endcsname \catcode \char \input{main} \input \input{b} \footnote
    \caption \section \title \abstract \cite \ref \verb| \begin{verbatim} \end{verbatim} \ensuremath
    \xspace \' \c \i \NewDocumentCommand \IfBooleanTF \ifthenelse \makeatletter @ \newtheorem \advance
"""
PIECES = [*_SPELT.split(), "%", "\n", "\n\n", " ", "x", "12", "3pt", "\\", "\0", "\1", "é", "😀", r"\usepackage{p}"]
PIECES += sorted(COMMANDS)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=9).map("".join),
)
def test_random_mixture_is_text_or_too_complex(source: str, other: str) -> None:
    try:
        assert "\0" not in text_of(source, b_tex=other, p_sty=other)
    except UnreadableError as error:
        assert error.reason == "too_complex"


MEASURED = r"""
import resource, sys
from corpus.extract.latex_text import latex_text
from corpus.document import UnreadableError
latex_text({"main.tex": b"warm"}, "main.tex")
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for source in ("(" + "see " * 2_000_000 + r"\ref{x}", "ab{cd}" * 300_000, "{" * 2_000_000, "$x " * 300_000,
               r"\def\a#1{" + "#1" * 500_000 + r"}\a{" + "xy{z}" * 100_000 + "}", "\U0001f600a{b} " * 200_000):
    try:
        latex_text({"main.tex": source.encode()}, "main.tex")
    except UnreadableError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) // 1024)
"""


def test_memory_is_bounded() -> None:
    """The worst inputs we know, as large as a submission may be or large enough to show growth."""
    found = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True, env=os.environ)
    assert int(found.stdout) < 300
