"""Wikitext to text, as a reader of the page sees it."""

import bz2
import html
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.document import UnreadableError
from corpus.extract.wikitext import wikitext_text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Bold''' and ''italic'' [[link]]s, [[page|shown]].", "Bold and italic links, shown."),
        (
            "[[Mercury (planet)|]] [[:Category:Mills]] [[Star Trek: Voyager]]",
            "Mercury Category:Mills Star Trek: Voyager",
        ),
        ("a [[File:x.jpg|thumb|A [[mill]]]] b\n[[Category:Mills]]\n[[de:Mühle]]\nc", "a b\n\nc"),
        ("a\n\n[[Файл:x.jpg|мини]] b [[Категория:Мелници]]", "a\n\nb"),
        ("Mill{{cite|a={{b}}}} (from {{lang|la|molina}}; {{IPA|x}}) is.", "Mill (from molina) is."),
        ("a ({{IPA|x}}) b ( ; c) {{x}}, d", "a b (c), d"),
        ("{{convert|5|km|mi}} {{nowrap|a b}} 1{{snd}}2", "5 km a b 1 – 2"),
        ("one<ref name=a>{{cite}} x</ref> two<ref name=a/> three<!-- hidden -->", "one two three"),
        ("{| class=x\n! a !! b\n|-\n| c || d\n|}\nafter", "after"),
        ("{| never closed\n|-\n| c || d\nafter", "after"),
        ("* one\n** two\n# three\n: four\n; five : six", "- one\n- two\n- three\nfour\nfive: six"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n\n- two"),
        ("a\n== Head ==\nb\n=== Sub ===\nc", "a\n\nHead\n\nb\n\nSub\n\nc"),
        ("a\n== Empty ==\n{{reflist}}\n== Last ==\n[[Category:x]]", "a"),
        ("a\n== Kept ==\n=== Sub === <!-- x -->\nb", "a\n\nKept\n\nSub\n\nb"),
        ("E = <math>mc^2 \\text{''x''}</math>, <nowiki>[[a]] ''b''</nowiki>", "E = mc^2 \\text{''x''}, [[a]] ''b''"),
        (
            "a\n<syntaxhighlight lang=python>\ndef f():\n    return ''\n</syntaxhighlight>\nb",
            "a\n\ndef f():\n    return ''\n\nb",
        ),
        ("[http://x.org shown] [http://y.org] http://z.org", "shown http://z.org"),
        ("5&nbsp;km &ndash; &lt;b&gt; [[a&ndash;b]]", "5 km – <b> a–b"),
        ("__NOTOC__a<br />b<br>c", "a\nb\nc"),
        ("''Iliad'''s end. ''Never closed", "Iliad's end. Never closed"),
        ("a\n\n\n\n\nb \n\nc", "a\n\nb\n\nc"),
        ("{{{1|default}}} {{{2}}}", "default"),
        ("\x01\x02\x04text", "text"),
        ("&#1;a &#2;b &#xD800;c &#150; d", "a b \N{REPLACEMENT CHARACTER}c \N{EN DASH} d"),
        ("( , ; a) (: b) ( or ) c (, ", "(a) (b) c (,"),
        ("&lt;ref&gt;a&lt;/ref&gt;b&lt;Ref name=x/&gt;c&lt;/REF&gt;d&lt;ref&gt;e&lt;span&gt;", "bde"),
        ("", ""),
    ],
)
def test_markup_becomes_text(wikitext: str, text: str) -> None:
    assert wikitext_text(wikitext) == text


@pytest.fixture(scope="module")
def articles(data: Path) -> dict[str, str]:
    [path] = (data / "wikipedia").glob("enwiki-latest*")
    content = bz2.decompress(path.read_bytes()).decode()
    found = re.findall(r"<title>(.*?)</title>.*?<text[^>]*>(.*?)</text>", content, re.DOTALL)
    return {html.unescape(title): html.unescape(text) for title, text in found}


@pytest.mark.parametrize(
    ("title", "begins", "holds"),
    [
        (
            "Anarchism",
            "Anarchism is a political philosophy that advocates self-governed societies based on voluntary",
            "\n\nEtymology and terminology\n\nThe term anarchism is a compound word composed from the word anarchy",
        ),
        ("Autism", "Autism is a neurodevelopmental disorder characterized by", "\n\nSocial development\n\n"),
    ],
)
def test_real_articles(articles: dict[str, str], title: str, begins: str, holds: str) -> None:
    text = wikitext_text(articles[title])
    assert text.startswith(begins) and holds in text
    assert not re.search(r"\{\{|\}\}|\[\[|\]\]|\{\||<ref|</|''|\n\n\n|[\x00-\x08]|\|(thumb|right)", text)
    assert 0.25 < len(text) / len(articles[title]) < 0.8


HOSTILE = (
    "{{a|",
    "[[a|",
    "<ref name=",
    "{|\n|",
    "== ",
    "\n;:",
    "''",
    "<b>",
    "[http://a ",
    "<br/>",
    "{{{",
    "<!--",
    "(, ",
    "\n",
)


HANG = (
    "(" + ", " * 150_000,
    "(" * 150_000 + ", " * 75_000,
    "&lt;ref&gt;" * 60_000,
    "<nowiki>" + "<ref/>" * 40_000 + "</nowiki>",
    '<br a=">' * 40_000,
    "[//a " * 60_000,
    "[mailto:a " * 30_000,
    "{{a|<b>}}</b>" * 9_000,
    "{|\n" + "|\n" * 1_000_000 + "|}",
    "{{a" + "|" * 2_000_000 + "}}",
    "&#1;" * 10_000,
)


@pytest.mark.parametrize("wikitext", HANG, ids=lambda wikitext: repr(wikitext[:10]))
def test_page_of_one_mark_neither_hangs_nor_crashes(wikitext: str) -> None:
    code = """
import sys
from corpus.extract.wikitext import wikitext_text
from corpus.document import UnreadableError
try:
    wikitext_text(sys.stdin.read())
except UnreadableError as error:
    assert error.reason == "wikitext"
"""
    # A process of its own, as neither `re` nor the parser can be stopped from within.
    subprocess.run([sys.executable, "-c", code], input=wikitext, text=True, check=True, timeout=60)


@pytest.mark.parametrize("mark", HOSTILE)
def test_hostile_markup_neither_hangs_nor_crashes(mark: str) -> None:
    code = f"""
from corpus.extract.wikitext import wikitext_text
from corpus.document import UnreadableError
for size in (1_000, 60_000):
    try:
        wikitext_text({mark!r} * (size // {len(mark)}))
    except UnreadableError as error:
        assert error.reason == "wikitext"
"""
    # A process of its own: the parser's stack once overflowed on many `=` in a line, which no `except` catches.
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_page_that_would_take_too_long_is_refused() -> None:
    for wikitext in ("{{a|" * 20_000, "* a\n" * 100_000, "<ref name=a/>" * 60_000):
        with pytest.raises(UnreadableError):
            wikitext_text(wikitext)
    assert wikitext_text("word {{a|b}} " * 5_000).startswith("word word")


def test_random_markup_leaves_no_marks() -> None:
    draw = random.Random(5)
    marks = [
        "{{",
        "}}",
        "[[",
        "]]",
        "{|",
        "|}",
        "<ref>",
        "</ref>",
        "'''",
        "== ",
        "\n",
        "\n* ",
        "|",
        "a ",
        "<pre>",
        "\n=",
        ")",
    ]
    for _ in range(300):
        text = wikitext_text("".join(draw.choices(marks, k=60)))
        assert not re.search(r"[\x00-\x08]|\n\n\n", text)
