"""Inputs made to exhaust a parser, and a program that measures one parse of each: `python exhausting.py KIND FOLDER`.

Pages, papers and articles were found by a search over tags and attributes, TeX primitives and wiki markup, which
measured the real parsers at growing sizes; tables go through Parquet's encodings one by one. Each is forked from a
process that has the parsers loaded.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.document import Failed, UnreadableError
from corpus.extract.html import html_text
from corpus.extract.latex_text import latex_text
from corpus.extract.wikitext import wikitext_text
from corpus.formats.parquet_rows import group_starts, rows
from corpus.tokens.train_bpe import Train, train

N = 300_000
LONG = "x" * 9_000


def _numbered(piece: str, count: int = N) -> str:
    return "".join(piece.format(number) for number in range(count))


PAGES: Mapping[str, Callable[[], str]] = {
    "options of a list": lambda: "<body><select>" + "<option>x" * N,
    "options in groups": lambda: "<select>" + "<optgroup><option>x</optgroup>" * N,
    "text in front of a table": lambda: "<table>" + "xx<!---->" * N,
    "text in front of a row": lambda: "<table><tr>" + "xx<!---->" * N,
    "text in front of a nested table": lambda: "<table><td><table>" + "xx<!---->" * N,
    "text behind the body": lambda: "<p>" + "xx</body><!---->" * N,
    "text and ignored cells": lambda: _numbered("<td a{}=b>xx yy"),
    "text and ignored columns": lambda: _numbered("<colgroup a{}=b>x"),
    "attributes of html": lambda: _numbered("<html a{}=b>"),
    "attributes of body": lambda: "<p>" + _numbered("<body a{}=b>"),
    "names of attributes": lambda: _numbered("<wbr a{}=b>"),
    "names of tags": lambda: _numbered("<x{0}></x{0}>"),
    "many attributes": lambda: ("<br " + _numbered("a{} ", 250) + ">") * 30_000,
    "depth behind MathML": lambda: "<p><math><meta><div>" + "</keygen><!--></embed><rt/>x" * N,
    "depth in SVG": lambda: "<svg><plaintext>" + "<tbody></u>" * N,
    "depth in MathML": lambda: "<datalist><math>" + "<base></a> " * N,
    "depth in foreign objects": lambda: "<svg><foreignObject>" + "<rt/>x" * N,
    "depth behind paragraphs in SVG": lambda: "<svg>" + "</p><rt/>x" * N,
    "depth by slashes in values": lambda: "<svg>" + "<g a=/>" * N,
    "depth by CDATA": lambda: "<div><svg><![CDATA[></svg></div>]]>" * N,
    "depth by scripts in scripts": lambda: "<div><script><!--<script></script></div>--></script>" * N,
    "depth of paragraphs": lambda: "<div>" * 250 + "<p>x" * N,
    "raw text in lists": lambda: "<select><xmp></select>" + "<div>" * N,
    "formatting in blocks": lambda: _numbered("<div><b id={}>x</div>"),
    "comments": lambda: "<!>" * 10_000_000,
}
DOUBLING = r"\def\a{\b\b\b\b\b\b\b\b}\def\b{\c\c\c\c\c\c\c\c}\def\c{" + LONG + "}"
PAPERS: Mapping[str, Callable[[], str]] = {
    "a long run in a macro": lambda: r"\def\a{" + "x" * 9_000 + "}" + r"\a" * 33_000,
    "runs doubled": lambda: DOUBLING + r"\a" * 10_000,
    "arguments doubled": lambda: r"\def\a#1{\b{#1#1}}\def\b#1{\c{#1#1}}\def\c#1{#1#1}" + rf"\a{{{LONG}}}" * 800,
    "verbatim in a macro": lambda: r"\def\a{\begin{verbatim}" + LONG * 50 + r"\end{verbatim}}" + r"\a" * 50_000,
    "footnotes in a macro": lambda: rf"\def\a{{\footnote{{{LONG}}}}}" + r"\a" * 50_000,
    "sections in a macro": lambda: rf"\def\a{{\section{{{LONG}}}x}}" + r"\a" * 50_000,
    "formulas in a macro": lambda: rf"\def\a{{${LONG}$}}" + r"\a" * 50_000,
    "titles in a macro": lambda: rf"\def\a{{\title{{{LONG}}}}}" + r"\a" * 50_000,
    "environments": lambda: rf"\newenvironment{{a}}{{{LONG}}}{{{LONG}}}" + r"\begin{a}\end{a}" * 30_000,
    "optional arguments": lambda: r"\NewDocumentCommand\a{o m}{#1#2#2}" + rf"\a[{LONG[:1900]}]{{{LONG}}}" * 700,
    "delimited arguments": lambda: r"\def\a#1\z{#1#1}" + (r"\a" + "x" * 19_000 + r"\z") * 400,
    "theorem titles": lambda: rf"\newtheorem{{a}}{{{LONG}}}" + r"\begin{a}\end{a}" * 30_000,
}
ARTICLES: Mapping[str, Callable[[], str]] = {
    "templates left open": lambda: "{{" * N,
    "links left open": lambda: "[[" * N,
    "tables left open": lambda: "\n{|" * N,
    "tags left open": lambda: "<b>" * N,
    "attributes left open": lambda: '<div style="' * N,
    "quotes": lambda: "'''''x" * N,
    "list marks": lambda: "\n" + "*" * 2 * N,
    "headings": lambda: "=" * N,
    "arguments": lambda: "{{{" * N,
    "references left open": lambda: "<ref>" * N,
    "links in links": lambda: "[[x|" * 1000 + "]]" * 1000 + "[http://x " * N,
}


def _table(values: list[object], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"text": pa.array(values, kind)})


def _dictionary(length: int, count: int) -> pa.Table:
    return pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * length])})


def _delta(length: int, count: int) -> pa.Table:
    return _table([f"{'x' * length}{number:07d}" for number in range(count)])


def _write(table: pa.Table, path: Path, **options: object) -> None:
    """Write a file as other programs do: with Arrow's own schema in it, it is read back as a dictionary."""
    pq.write_table(table, path, store_schema=False, **options)


TABLES: Mapping[str, Callable[[Path], None]] = {
    "one value in a dictionary": lambda path: _write(_dictionary(20_000_000, 90), path, compression="zstd"),
    "a small value in many rows": lambda path: _write(_dictionary(100_000, 10_000), path, compression="zstd"),
    "a dictionary without compression": lambda path: _write(_dictionary(2_000_000, 500), path, compression="none"),
    "a common prefix": lambda path: _write(
        _delta(500_000, 400), path, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY", compression="zstd"
    ),
    "equal values by delta": lambda path: _write(
        _table(["x" * 500_000] * 400), path, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"
    ),
    "a page of zeros": lambda path: _write(
        _table(["\0" * 450_000_000]), path, use_dictionary=False, compression="zstd", write_statistics=False
    ),
    "many pages of zeros": lambda path: _write(
        _table(["\0" * 500_000] * 500), path, use_dictionary=False, compression="zstd"
    ),
    "rows of nothing": lambda path: _write(pa.table({"text": pa.nulls(20_000_000, pa.string())}), path),
    "a long list": lambda path: _write(
        pa.table({"text": pa.ListArray.from_arrays([0, 30_000_000], pa.nulls(30_000_000, pa.int8()))}), path
    ),
    "a list of one value": lambda path: _write(
        pa.table({"text": pa.ListArray.from_arrays([0, 1_000], _dictionary(1_000_000, 1_000)["text"].chunk(0))}), path
    ),
    "structs of one value": lambda path: _write(
        pa.table({"text": pa.StructArray.from_arrays([_dictionary(5_000_000, 100)["text"].chunk(0)], ["a"])}), path
    ),
}


def _read_table(path: Path) -> str:
    starts = group_starts(path)
    assert starts is not None
    reasons, kept = set[str](), 0
    for row in rows(path, 0, path.stat().st_size, ["text"]):
        reasons |= {row.reason} if isinstance(row, Failed) else set()
        kept += not isinstance(row, Failed)
    return ", ".join(sorted(reasons)) or f"{kept} rows"


def _train(path: Path) -> str:
    text = " ".join(f"{number % 7919:x}" for number in range(4_000_000))
    train([text], Train(vocabulary=300))
    return f"trained on {len(text)} characters"


def inputs(kind: str) -> list[str]:
    """Return the names of the inputs of a kind."""
    return list(
        {"page": PAGES, "paper": PAPERS, "article": ARTICLES, "table": TABLES, "sample": ["one long text"]}[kind]
    )


def _made(kind: str, name: str, path: Path) -> Callable[[], str]:
    """Make an input, and return the call that parses it and returns what became of it."""
    if kind == "page":
        content = PAGES[name]().encode()
        return lambda: f"{len(html_text(content, 'utf-8', main_content=True))} characters"
    if kind == "paper":
        paper = {"main.tex": PAPERS[name]().encode()}
        return lambda: f"{len(latex_text(paper, 'main.tex').text)} characters"
    if kind == "article":
        article = ARTICLES[name]()
        return lambda: f"{len(wikitext_text(article))} characters"
    if kind == "table":
        TABLES[name](path)
        return lambda: _read_table(path)
    return lambda: _train(path)


def _outcome(parse: Callable[[], str]) -> str:
    try:
        return parse()
    except UnreadableError as error:
        return error.reason
    except MemoryError:
        return "exhausted"


def main(kind: str, folder: Path) -> None:
    """Print for each input its outcome, the CPU seconds and the memory of its parse, as JSON."""
    html_text(b"<p>x", "utf-8", main_content=True)
    wikitext_text("x")
    latex_text({"main.tex": b"x"}, "main.tex")
    for number, name in enumerate(inputs(kind)):
        path = folder / f"{number}.parquet"
        if kind == "table" and not os.fork():  # in a process of its own, whose memory does not count
            _made(kind, name, path)
            os._exit(0)
        elif kind == "table":
            os.wait()
        parse = _made(kind, name, path) if kind != "table" else lambda path=path: _read_table(path)  # type: ignore[misc]
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, _outcome(parse).encode())
            os._exit(0)
        os.close(writer)
        _, status, usage = os.wait4(child, 0)
        outcome = os.read(reader, 1000).decode() or f"ended with status {status}"
        os.close(reader)
        seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        print(json.dumps([name, outcome, round(seconds, 2), round(megabytes)]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
