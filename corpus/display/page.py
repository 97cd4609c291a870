"""The frame of every HTML page: one file that opens from disk, asks nobody for anything, and shows text as text.

    page("Corpus web_books", heading("What went in"), table([...], [...]), chart("funnel", spec, "How much is left"))

Its Content-Security-Policy names the hashes of our own scripts and style, so nothing else in the page can run, were it
ever let in. Charts are Vega-Lite specs as JSON beside the one library, drawn as SVG by its expression interpreter (no
`eval`). Marks have colours of ours (`SERIES`, `INK` …), which the style sheet turns into those for a dark screen.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache

from corpus.display.page_style import INK, REST, SERIES, STEPS, colour_class, style
from corpus.settings import Json

__all__ = ["INK", "REST", "SERIES", "STEPS"]

_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Html(str):
    """Markup that is safe as it stands. Any other string is text, and is escaped."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as markup that shows it, whatever it holds; control characters and lone surrogates show as U+FFFD."""
    return Html(html.escape(_UNSHOWN.sub("\ufffd", text), quote=True))


def heading(text: str, level: int = 2, *, name: str = "") -> Html:
    """A heading; by its `name` the page's `contents` lead to it."""
    return Html(f"<h{level}{_named(name)}>{escape(text)}</h{level}>")


def contents(names: Mapping[str, str]) -> Html:
    """Links to the headings of these names, with their texts."""
    return Html(f"<nav>{''.join(_link(name, text) for name, text in names.items())}</nav>\n")


def paragraph(*parts: str, kind: str = "") -> Html:
    """A paragraph of text and markup; `kind` is `over`, `lead`, `note` or nothing."""
    named = f' class="{escape(kind)}"' if kind else ""
    return Html(f"<p{named}>{''.join(map(_markup, parts))}</p>")


def code(text: str) -> Html:
    """A hash, an id, a name of ours, on one line."""
    return Html(f"<code>{escape(text)}</code>")


def foreign(text: str) -> Html:
    """Somebody else's text inside ours: its direction and bidirectional marks reach no further than its end."""
    return Html(f'<bdi dir="auto">{escape(text)}</bdi>')


def strong(text: str) -> Html:
    """What to read if nothing else."""
    return Html(f"<b>{escape(text)}</b>")


def passage(pieces: Sequence[tuple[str, bool]]) -> Html:
    """Somebody else's text with its line breaks, in pieces of which some are marked."""
    shown = ((Html("\n".join(map(escape, re.split("\r\n?|\n", text)))), marked) for text, marked in pieces)
    inside = "".join(f"<mark>{text}</mark>" if marked else text for text, marked in shown)
    return Html(f'<bdi dir="auto" class="passage">{inside}</bdi>')


def card(head: Html, body: Html, foot: Html) -> Html:
    """A document, or a piece of one, with what is said of it."""
    return Html(f'<article class="card"><header>{head}</header>{body}<footer>{foot}</footer></article>\n')


def cards(*parts: Html) -> Html:
    """Cards beside each other, as many as the width allows."""
    return Html(f'<div class="cards">{"".join(parts)}</div>')


def pair(left: Html, right: Html) -> Html:
    """Two cards side by side; on a phone one below the other."""
    return Html(f'<div class="pair">{left}{right}</div>')


def section(*parts: Html) -> Html:
    """What stays together."""
    return Html(f"<section>{''.join(parts)}</section>\n")


def grid(*parts: Html) -> Html:
    """Small charts beside each other, as many as the width allows."""
    return Html(f'<div class="grid">{"".join(parts)}</div>')


def details(summary: str, *parts: Html, unfolded: bool = False) -> Html:
    """What is folded away until asked for; printing unfolds it. Charts in it must state their width."""
    return Html(
        f"<details{' open' if unfolded else ''}><summary>{_markup(summary)}</summary>{''.join(parts)}</details>"
    )


def legend(names: Mapping[str, str]) -> Html:
    """What the colours of charts stand for: names to colours of ours. It wraps where a chart's own would not."""
    keys = (f'<span><i class="{colour_class(colour)}"></i>{escape(name)}</span>' for name, colour in names.items())
    return Html(f'<p class="legend">{"".join(keys)}</p>')


def tiles(figures: Sequence[tuple[str, str, str]]) -> Html:
    """Headline figures: (name, figure, remark)."""
    cells = (f"<div><dt>{escape(a)}</dt><dd>{escape(b)}<small>{escape(c)}</small></dd></div>" for a, b, c in figures)
    return Html(f'<dl class="tiles">{"".join(cells)}</dl>')


def table(columns: Sequence[str], rows: Sequence[Sequence[str | int]], *, text: Collection[int] = (0,)) -> Html:
    """A table that scrolls inside its own width. Columns not in `text` are figures; integers get thousands commas."""
    kinds = ["" if index in text else ' class="n"' for index in range(len(columns))]
    head = "".join(f'<th scope="col"{kind}>{_markup(name)}</th>' for name, kind in zip(columns, kinds, strict=True))
    body = (
        "<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>\n"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if any(columns) else ""
    return Html(f'<div class="scroll" tabindex="0"><table>{top}<tbody>{"".join(body)}</tbody></table></div>\n')


def chart(name: str, spec: Mapping[str, Json], caption: str, key: Mapping[str, str] | None = None) -> Html:
    """A Vega-Lite spec, its caption and the legend of its colours; `name` must be unique in the page.

    What a mark shows on hover is its `tooltip` encoding.
    """
    assert re.fullmatch(r"[a-z][a-z0-9-]*", name), name
    top = f"<figcaption>{_markup(caption)}</figcaption>{legend(key) if key else ''}"
    plot = f'<div class="plot" role="img" aria-label="{escape(name)}"></div>'
    data = f'<script type="application/json">{_script_json(spec)}</script>'
    return Html(f'<figure class="chart" id="{name}">{top}{plot}{data}</figure>\n')


def page(title: str, *sections: Html) -> str:
    """The whole file. Its bytes depend on the arguments and the version of the chart library alone."""
    body = "".join(sections)
    scripts = [_library(), _DRAW] if '<figure class="chart"' in body else []
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hash, scripts)) or "'none'",
        "style-src": _hash(style()),
        "connect-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(f"{k} {v}" for k, v in policy.items())}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title)}</title>\n<style>{style()}</style>\n</head>\n<body>\n<main>{body}</main>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def _markup(text: str) -> Html:
    return text if isinstance(text, Html) else escape(text)


def _named(name: str) -> str:
    assert re.fullmatch(r"[a-z-]*", name), name
    return f' id="{name}"' if name else ""


def _link(name: str, text: str) -> Html:
    assert re.fullmatch(r"[a-z-]+", name), name
    return Html(f'<a href="#{name}">{escape(text)}</a>')


def _cell(cell: str | int) -> Html:
    return Html(f"{cell:,}") if isinstance(cell, int) else _markup(cell)


def _script_json(value: Mapping[str, Json]) -> str:
    """JSON in ASCII (so U+2028 is escaped) in which no HTML parser can see an end or a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


@cache
def _library() -> str:
    import vl_convert

    bundle = str(vl_convert.javascript_bundle(_SNIPPET))
    assert "</script" not in bundle and "<!--" not in bundle
    return bundle.replace("\r\n", "\n").replace("\r", "\n")  # as the HTML parser, and so the hash, sees it


_SNIPPET = "window.vegaEmbed = vegaEmbed;"

_DRAW = """
"use strict";
(async () => {
  const font = "system-ui, sans-serif", soft = "#6b6862", line = "#c9c6bd";
  const axis = {labelFont: font, titleFont: font, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal",
    labelColor: soft, titleColor: soft, gridColor: "#e4e1d9", domainColor: line, tickColor: line, tickSize: 4,
    labelLimit: 150, labelSeparation: 6};
  const config = {font, background: null, view: {stroke: null}, axis, text: {font, fontSize: 11}};
  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;
  const tooltip = (handler, event, item, value) => {
    tip.replaceChildren();
    tip.hidden = value == null || value === "";
    if (tip.hidden) return;
    for (const [name, text] of Object.entries(value)) {
      const row = tip.appendChild(document.createElement("div"));
      row.appendChild(document.createElement("span")).textContent = name + " ";
      row.appendChild(document.createElement("b")).textContent = text;
    }
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(event.clientX + 12, room)) + "px";
    tip.style.top = event.clientY + 14 + "px";
  };
  addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(each => { each.open = true; }));
  for (const figure of document.querySelectorAll("figure.chart")) {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    await vegaEmbed(figure.querySelector(".plot"), spec,
      {mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, config, tooltip});
  }
  document.documentElement.dataset.drawn = "yes";
})();
"""
