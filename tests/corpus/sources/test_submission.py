"""Files of a submission, and the choice of the main one."""

import gzip
import json
import tarfile

import pytest

from corpus.document import UnreadableError
from corpus.extract.latex_text import latex_text
from corpus.formats.budget import Limits
from corpus.sources import arxiv
from corpus.sources.arxiv import main_file, submission
from tests.corpus.sources.submissions import info, packed, paper, submitted

BODY = b"\\section{A} words \\input{other}"
FIGURE = b"\\documentclass[tikz]{standalone}\\begin{document}\\draw;\\end{document}" + b"%" * 5000


@pytest.mark.parametrize(
    ("files", "main"),
    [
        ({"a.tex": BODY, "z.tex": paper("x")}, "z.tex"),
        ({"z.tex": paper("\\input{a}"), "a.tex": paper("a longer part of it") + b" " * 999}, "z.tex"),
        ({"fig.tex": FIGURE, "z.tex": paper("x")}, "z.tex"),
        ({"letter.tex": paper("x" * 999), "main.tex": paper("x")}, "main.tex"),
        ({"letter.tex": paper("x" * 999), "ms.tex": paper("x")}, "ms.tex"),
        ({"a.tex": paper("x"), "b.tex": paper("x" * 999)}, "b.tex"),
        ({"old/a.tex": paper("x" * 999), "a.tex": paper("x")}, "a.tex"),
        ({"a.tex": b"% \\documentclass{article}\n\\begin{document}x\\end{document}"}, "a.tex"),
        ({"a.tex": paper("x"), "b.tex": b"%auto-ignore\n" + paper("x" * 999)}, "a.tex"),
        ({"paper": paper("no extension")}, "paper"),
        ({"a.TEX": paper("x")}, "a.TEX"),
        ({"a.tex": b"\\magnification=1200 Plain words. \\bye", "m.tex": b"\\def\\a{b}"}, "a.tex"),
        ({"a.sty": paper("x")}, None),
        ({"a.tex": b"Just words."}, None),
        ({"a.tex": b"\0" + paper("x")}, None),
    ],
)
def test_the_main_file_is_found(files: dict[str, bytes], main: str | None) -> None:
    assert main_file(files) == main
    assert submission(submitted(files)).main == main


def test_carriage_returns_end_lines() -> None:
    content = b"% a comment\r" + paper("x").replace(b"\n", b"\r")
    for packed_ in (gzip.compress(content), submitted({"main.tex": content})):
        found = submission(packed_)
        assert found.main == "main.tex" and found.why_not == ""
        assert latex_text(found.files, found.main).text == "x"
    assert submission(gzip.compress(b"% a\r\n% b\r")).why_not == "empty"


def test_the_main_file_stated_by_the_authors_wins() -> None:
    files = {"main.tex": paper("not this"), "b.tex": paper("this")}
    assert main_file(files) == "main.tex"
    assert main_file({**files, "00README.XXX": b"b.tex toplevelfile\nmain.tex ignore\n"}) == "b.tex"
    stated = {"sources": [{"filename": "main.tex", "usage": "ignore"}, {"filename": "b.tex", "usage": "toplevel"}]}
    assert main_file({**files, "00README.json": json.dumps(stated).encode()}) == "b.tex"
    for damaged in (b"", b"[1]", b'{"sources": 3}', b'{"sources": [3]}', b"[" * 100_000, b"\xff"):
        assert main_file({**files, "00README.json": damaged}) == "main.tex"
    assert main_file({**files, "00README": b"../../etc/passwd toplevelfile\n"}) == "main.tex"


def test_figures_are_passed_over_and_links_are_not_followed() -> None:
    members = [
        (info("./main.tex"), paper(r"A \input{link} \input{/etc/passwd} \input{../../etc/passwd} \input{inside/b} C")),
        (info("fig.eps"), b"%!PS" * 9_000_000),
        (info("link.tex", kind=tarfile.SYMTYPE, target="/etc/passwd"), b""),
        (info("hard.tex", kind=tarfile.LNKTYPE, target="main.tex"), b""),
        (info("/etc/passwd.tex"), b"STOLEN"),
        (info("../../etc/passwd.tex"), b"STOLEN"),
        (info("inside/../../../b.tex"), b"STOLEN"),
        (info("inside/b.tex"), b"B"),
        (info("pipe", kind=tarfile.FIFOTYPE), b""),
    ]
    found = submission(gzip.compress(packed(members)))
    assert set(found.files) == {"main.tex", "inside/b.tex"} and found.main == "main.tex"
    made = latex_text(found.files, found.main)
    assert made.text == "A B C" and len(made.missing) == 3


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arxiv, "SUBMISSION_LIMITS", Limits(10_000_000, ratio=0, members=50))
    with pytest.raises(UnreadableError, match="bomb"):
        submission(submitted({"main.tex": paper("x"), "fig.eps": b"\0" * 20_000_000}))
    with pytest.raises(UnreadableError, match="too_many_members"):
        submission(submitted({f"{n}.tex": b"" for n in range(60)}))


def test_submissions_with_too_much_tex_are_skipped() -> None:
    assert submission(gzip.compress(b"\\input x " * 1_000_000)).why_not == "too_large"
    parts = {f"{n}.tex": b"words " * 500_000 for n in range(4)}
    assert submission(submitted({"main.tex": paper("x"), **parts})).why_not == "too_large"


def test_macro_bombs_are_too_complex() -> None:
    found = submission(gzip.compress(rb"\documentclass{a}\begin{document}\def\a{\a\a}\a\end{document}"))
    assert found.main is not None
    with pytest.raises(UnreadableError, match="too_complex"):
        latex_text(found.files, found.main)
