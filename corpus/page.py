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

from corpus.settings import Json

SERIES = ("#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#e87ba4", "#008300", "#4a3aa7", "#e34948")  # in this order
STEPS = ("#c9c6bd", "#9ec5f4", "#5598e7", "#1c5cab")  # from what came in to what is left
REST = "#a8a59c"  # all others
INK = "#1d1c19"
_DARK_SERIES = ("#3987e5", "#d95926", "#199e70", "#c98500", "#d55181", "#008300", "#9085e9", "#e66767")
_DARK_STEPS = ("#55534d", "#1c5cab", "#3987e5", "#9ec5f4")
_DARK = dict(zip((*SERIES, *STEPS, REST, INK), (*_DARK_SERIES, *_DARK_STEPS, "#706e67", "#f0eee8"), strict=True))
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Html(str):
    """Markup that is safe as it stands. Any other string is text, and is escaped."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as markup that shows it, whatever it holds; control characters and lone surrogates show as U+FFFD."""
    return Html(html.escape(_UNSHOWN.sub("\ufffd", text), quote=True))


def heading(text: str, level: int = 2) -> Html:
    """A heading."""
    return Html(f"<h{level}>{escape(text)}</h{level}>")


def paragraph(*parts: str, kind: str = "") -> Html:
    """A paragraph of text and markup; `kind` is `lead`, `note` or nothing."""
    named = f' class="{escape(kind)}"' if kind else ""
    return Html(f"<p{named}>{''.join(map(_markup, parts))}</p>")


def code(text: str) -> Html:
    """A hash, an id, a name of ours, on one line."""
    return Html(f"<code>{escape(text)}</code>")


def foreign(text: str) -> Html:
    """Somebody else's text inside ours: its direction and bidirectional marks reach no further than its end."""
    return Html(f'<bdi dir="auto">{escape(text)}</bdi>')


def section(*parts: Html) -> Html:
    """What stays together."""
    return Html(f"<section>{''.join(parts)}</section>\n")


def grid(*parts: Html) -> Html:
    """Small charts beside each other, as many as the width allows."""
    return Html(f'<div class="grid">{"".join(parts)}</div>')


def details(summary: str, *parts: Html) -> Html:
    """What is folded away until asked for; printing unfolds it. Charts in it must state their width."""
    return Html(f"<details><summary>{_markup(summary)}</summary>{''.join(parts)}</details>")


def legend(names: Mapping[str, str]) -> Html:
    """What the colours of charts stand for: names to colours of ours. It wraps where a chart's own would not."""
    keys = (f'<span><i class="{_colour_class(colour)}"></i>{escape(name)}</span>' for name, colour in names.items())
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
        "style-src": _hash(_style()),
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
            f"<title>{escape(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>{body}</main>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def _markup(text: str) -> Html:
    return text if isinstance(text, Html) else escape(text)


def _cell(cell: str | int) -> Html:
    return Html(f"{cell:,}") if isinstance(cell, int) else _markup(cell)


def _colour_class(colour: str) -> str:
    assert colour in _DARK, colour
    return f"k{colour[1:]}"


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

_FRAME_STYLE = """
:root{color-scheme:light dark;--paper:#fcfbf8;--card:#fff;--ink:#1d1c19;--soft:#6b6862;--line:#e4e1d9;--accent:#8a5a12}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:74rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:2rem;line-height:1.15;margin:0 0 .25rem;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.5rem 0 .25rem;padding-top:1.25rem;border-top:1px solid var(--line)}
h3{font-size:1.02rem;margin:1.75rem 0 .25rem}
p{margin:.35rem 0 1rem;max-width:46rem}
p.lead{font-size:1.1rem;color:var(--soft)} p.note,.note,figcaption{color:var(--soft);font-size:.88rem}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,monospace;white-space:nowrap}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1px;margin:1.5rem 0;
  background:var(--line);border:1px solid var(--line);border-radius:8px;overflow:hidden}
.tiles div{background:var(--card);padding:.8rem 1rem}.tiles dt{color:var(--soft);font-size:.84rem}
.tiles dd{margin:0;font-size:1.65rem;line-height:1.25;font-weight:600;letter-spacing:-.01em}
.tiles small{display:block;font-size:.8rem;font-weight:400;color:var(--soft);letter-spacing:0;line-height:1.35}
figure{margin:1rem 0 1.25rem}figcaption{margin-bottom:.35rem;max-width:46rem;overflow-wrap:anywhere}
.plot{width:100%;min-height:20px}.plot svg{display:block;max-width:100%;height:auto;overflow:visible}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.25rem 0 .5rem;max-width:none;font-size:.8rem;
  color:var(--soft)}
.legend i{display:inline-block;width:.7rem;height:.7rem;border-radius:2px;margin-right:.4rem;vertical-align:-.05rem}
.legend i{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(15.5rem,1fr));gap:.5rem 1.5rem}
.grid figure{margin:.5rem 0;min-width:0}.grid .plot svg{width:100%}
.grid figcaption{min-height:2.7em;line-height:1.35;margin-bottom:.25rem;color:var(--ink)}
.grid figcaption small{color:var(--soft);display:block;font-size:.8rem}
.scroll{overflow-x:auto;margin:.75rem 0 1.25rem}
table{border-collapse:collapse;font-size:.88rem;line-height:1.4;min-width:min(100%,28rem)}
th,td{text-align:left;padding:.32rem 1.1rem .32rem 0;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:500;color:var(--soft);white-space:nowrap}td:last-child,th:last-child{padding-right:0}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
details{margin:.25rem 0}summary{cursor:pointer;padding:.35rem 0;font-weight:500}
.pill{display:inline-block;padding:0 .5em;border:1px solid;border-radius:1em;font-size:.78rem;color:var(--accent)}
.list{min-width:7rem}.excerpt{min-width:18rem;max-width:44rem;overflow-wrap:anywhere}
#tip{position:fixed;z-index:9;max-width:22rem;padding:.4rem .6rem;border-radius:6px;background:var(--ink);
  color:var(--paper);font-size:.8rem;line-height:1.45;pointer-events:none;overflow-wrap:anywhere}
#tip[hidden]{display:none}
.plot svg text{fill:var(--soft)}.plot svg .role-mark text{fill:var(--ink)}
.plot svg .role-axis-grid line{stroke:var(--line)}
@media(max-width:40rem){main{padding:1.25rem 1rem 3rem}h1{font-size:1.6rem}.tiles{grid-template-columns:1fr 1fr}
  .tiles dd{font-size:1.35rem}}
@media print{body{font-size:11pt;background:#fff}main{max-width:none;padding:0}.scroll{overflow:visible}
  figure,tr,.tiles{break-inside:avoid}h2,h3{break-after:avoid}#tip{display:none}}
"""


@cache
def _style() -> str:
    def roles(colours: Mapping[str, str]) -> str:
        return "".join(
            f'.plot svg [fill="{name}"]{{fill:{colour}}}.plot svg [stroke="{name}"]{{stroke:{colour}}}'
            f".{_colour_class(name)}{{background:{colour}}}"
            for name, colour in colours.items()
        )

    dark = "--paper:#191815;--card:#211f1c;--ink:#f0eee8;--soft:#a5a29a;--line:#3a3833;--accent:#e0b060"
    light = roles({colour: colour for colour in _DARK})
    return f"{_FRAME_STYLE}{light}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}{roles(_DARK)}}}\n"
