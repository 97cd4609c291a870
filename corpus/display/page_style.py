"""The colours and the style sheet of every page: on a desk, on a phone, in the dark and on paper."""

from collections.abc import Mapping
from functools import cache

SERIES = ("#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#e87ba4", "#008300", "#4a3aa7", "#e34948")  # in this order
STEPS = ("#c9c6bd", "#9ec5f4", "#5598e7", "#1c5cab")  # from what came in to what is left
REST = "#a8a59c"  # all others
INK = "#1d1c19"
_DARK_SERIES = ("#3987e5", "#d95926", "#199e70", "#c98500", "#d55181", "#008300", "#9085e9", "#e66767")
_DARK_STEPS = ("#55534d", "#1c5cab", "#3987e5", "#9ec5f4")
_DARK = dict(zip((*SERIES, *STEPS, REST, INK), (*_DARK_SERIES, *_DARK_STEPS, "#706e67", "#f0eee8"), strict=True))


def colour_class(colour: str) -> str:
    """The class of what is painted in a colour of ours."""
    assert colour in _DARK, colour
    return f"k{colour[1:]}"


_FRAME = """
:root{color-scheme:light dark;--paper:#fcfbf8;--card:#fff;--ink:#1d1c19;--soft:#6b6862;--line:#e4e1d9;--accent:#8a5a12;
  --mark:#dbe9fb;--shade:rgba(29,28,25,.13)}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:74rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:2.3rem;line-height:1.12;margin:0 0 .4rem;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{font-size:1.35rem;line-height:1.25;margin:2.75rem 0 .35rem;padding-top:1.4rem;border-top:1px solid var(--line);
  letter-spacing:-.01em;scroll-margin-top:.5rem;overflow-wrap:anywhere}
h3{font-size:1.02rem;margin:1.75rem 0 .25rem;overflow-wrap:anywhere}
p{margin:.35rem 0 1rem;max-width:46rem;overflow-wrap:anywhere}
p.lead{font-size:1.12rem;line-height:1.5;color:var(--soft);max-width:52rem}p.lead b{color:var(--ink);font-weight:600}
p.over{margin:0 0 .35rem;font-size:.78rem;letter-spacing:.09em;text-transform:uppercase;color:var(--accent)}
p.note,.note,figcaption{color:var(--soft);font-size:.88rem}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,monospace;white-space:nowrap}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin:1rem 0 0;font-size:.88rem}
nav a{color:var(--soft);text-decoration:none;border-bottom:1px solid var(--line)}nav a:hover{color:var(--ink)}
"""

_FIGURES = """
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
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(15.5rem,1fr));gap:.5rem 1.5rem}
.grid figure{margin:.5rem 0;min-width:0;display:grid;grid-row:span 2;grid-template-rows:subgrid;row-gap:0}
.grid .plot svg{width:100%}
.grid figcaption{min-height:2.7em;line-height:1.35;margin-bottom:.25rem;color:var(--ink)}
.grid figcaption small{color:var(--soft);display:block;font-size:.8rem}
.plot svg text{fill:var(--soft)}.plot svg .role-mark text{fill:var(--ink)}
.plot svg .role-axis-grid line{stroke:var(--line)}
#tip{position:fixed;z-index:9;max-width:22rem;padding:.4rem .6rem;border-radius:6px;background:var(--ink);
  color:var(--paper);font-size:.8rem;line-height:1.45;pointer-events:none;overflow-wrap:anywhere}
#tip[hidden]{display:none}
"""

# A table that is wider than its box shows a shadow where there is more of it.
_TEXTS = """
.scroll{overflow-x:auto;margin:.75rem 0 1.25rem;background:
  linear-gradient(to right,var(--paper) 30%,transparent) 0 0/2.5rem 100% no-repeat local,
  linear-gradient(to left,var(--paper) 30%,transparent) 100% 0/2.5rem 100% no-repeat local,
  linear-gradient(to right,var(--shade),transparent) 0 0/.7rem 100% no-repeat scroll,
  linear-gradient(to left,var(--shade),transparent) 100% 0/.7rem 100% no-repeat scroll}
table{border-collapse:collapse;font-size:.88rem;line-height:1.4;min-width:min(100%,28rem)}
th,td{text-align:left;padding:.32rem 1.1rem .32rem 0;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:500;color:var(--soft);white-space:nowrap}td:last-child,th:last-child{padding-right:0}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
details{margin:.25rem 0}summary{cursor:pointer;padding:.35rem 0;font-weight:500;overflow-wrap:anywhere}
.pill{display:inline-block;padding:0 .5em;border:1px solid;border-radius:1em;font-size:.78rem;color:var(--accent);
  white-space:nowrap}
.list{min-width:7rem}.wide{min-width:15rem;max-width:44rem;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,25rem),1fr));gap:.9rem;margin:.6rem 0 1.4rem}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:0 .9rem;margin:.35rem 0 1.4rem}
.card{min-width:0;margin:0;padding:.7rem .9rem .8rem;background:var(--card);border:1px solid var(--line);
  border-radius:8px;overflow-wrap:anywhere;font-size:.88rem;line-height:1.5}
.card header{margin-bottom:.35rem;font-weight:500}.card header small{font-size:1em;font-weight:400;color:var(--soft)}
.card footer{margin-top:.45rem;color:var(--soft);font-size:.8rem;line-height:1.4}
.card code{white-space:normal;overflow-wrap:anywhere}
.passage{white-space:pre-wrap}.card .passage{display:block}
mark{background:var(--mark);color:inherit;border-radius:2px;box-shadow:0 0 0 1px var(--mark)}
"""

_PHONE = """
@media(max-width:40rem){main{padding:1.25rem 1rem 3rem}h1{font-size:1.8rem}.tiles{grid-template-columns:1fr 1fr}
  .tiles dd{font-size:1.35rem}.pair{grid-template-columns:1fr;gap:.5rem}}
"""

_PAPER = """
@media print{@page{margin:15mm 13mm}
  :root{--paper:#fff;font-size:9.5pt}html,body{background:#fff}body{font-size:1rem}
  body,mark,.legend i,.tiles,.card{print-color-adjust:exact;-webkit-print-color-adjust:exact}
  main{max-width:none;padding:0}h2{margin-top:1.75rem;padding-top:1.1rem}
  nav,#tip,summary::marker{display:none;content:""}details::details-content{display:block;content-visibility:visible}
  .scroll{overflow:visible;background:none}table{font-size:.8rem;min-width:0;width:100%}
  th,td{padding:.2rem .5rem .2rem 0;overflow-wrap:anywhere}th,.n{white-space:normal}
  td code{white-space:normal;overflow-wrap:anywhere}.list,.wide{min-width:0}
  .tiles{grid-template-columns:repeat(3,1fr)}.grid{grid-template-columns:repeat(3,1fr)}
  .cards{grid-template-columns:1fr 1fr}.card{font-size:.82rem}
  figure,tr,.tiles,.card,.pair,.legend{break-inside:avoid}
  h2,h3,summary,figcaption,p.note,h2+p,h3+p{break-after:avoid}thead{display:table-header-group}p{orphans:3;widows:3}}
"""

_DARK_SHADES = """--paper:#191815;--card:#211f1c;--ink:#f0eee8;--soft:#a5a29a;--line:#3a3833;--accent:#e0b060;
  --mark:#1f3a5c;--shade:rgba(0,0,0,.5)"""


@cache
def style() -> str:
    """The style sheet: the frame, then a rule for each colour of ours, by day and in the dark."""

    def roles(colours: Mapping[str, str]) -> str:
        return "".join(
            f'.plot svg [fill="{name}"]{{fill:{colour}}}.plot svg [stroke="{name}"]{{stroke:{colour}}}'
            f".{colour_class(name)}{{background:{colour}}}"
            for name, colour in colours.items()
        )

    light = roles({colour: colour for colour in _DARK})
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{_DARK_SHADES}}}{roles(_DARK)}}}"
    return f"{_FRAME}{_FIGURES}{_TEXTS}{light}{dark}{_PHONE}{_PAPER}\n"
