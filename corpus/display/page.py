"""HTML pages from templates: one file that opens from disk, loads nothing, and shows text from outside as text.

    render("report.html", title="Corpus web_books", summary=summary)

A page has no scripts, and its Content-Security-Policy allows nothing but the style with our hash.
Marks of charts have our own colors (`SERIES`, `INK` …), which the style sheet replaces on a dark screen.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup as Html
from markupsafe import escape as escape_markup

from corpus.units import human_bytes, human_count, largest

__all__ = ["COLORS", "INK", "REST", "SERIES", "STEPS", "Html", "escape", "page", "render"]

SERIES = ("#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#e87ba4", "#008300", "#4a3aa7", "#e34948")  # in this order
STEPS = ("#c9c6bd", "#9ec5f4", "#5598e7", "#1c5cab")  # from all input to what is left of it
REST = "#a8a59c"  # all others
INK = "#1d1c19"
_DARK_SERIES = ("#3987e5", "#d95926", "#199e70", "#c98500", "#d55181", "#008300", "#9085e9", "#e66767")
_DARK_STEPS = ("#55534d", "#1c5cab", "#3987e5", "#9ec5f4")
COLORS = dict(zip((*SERIES, *STEPS, REST, INK), (*_DARK_SERIES, *_DARK_STEPS, "#706e67", "#f0eee8"), strict=True))

_HERE = Path(__file__).parent
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def escape(text: str) -> Html:
    """Return text as markup that shows it; control characters and lone surrogates become U+FFFD."""
    return escape_markup(_UNSHOWN.sub("\ufffd", text))


def render(template: str, title: str, **values: object) -> str:
    """Return a page whose content is a template of this folder. The same arguments give the same bytes."""
    return page(title, Html(templates().get_template(template).render(**values)))


def page(title: str, body: Html) -> str:
    """Return a page with this content."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return templates().get_template("page.html").render(title=title, style=style, digest=digest, body=body)


@cache
def templates() -> Environment:
    """Return the environment of all templates: every value is escaped, and an undefined name is an error."""
    made = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    made.filters |= {"bytes": human_bytes, "count": human_count, "share": _share, "lines": _lines, "largest": largest}
    return made


def _shown(value: object) -> object:
    """Prepare a value of a template's `{{ … }}`: integers get thousands separators, text loses control characters."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(value) if isinstance(value, str) and not isinstance(value, Html) else value


def _share(part: float, whole: float = 1, digits: int = 1) -> str:
    """Percentage of a whole; a dash if the whole is 0."""
    return f"{part / whole:.{digits}%}" if whole else "–"


def _lines(text: str) -> Html:
    """Text with its line breaks."""
    return Html("\n").join(map(escape, re.split("\r\n?|\n", text)))


@cache
def _style() -> Html:
    return Html(templates().get_template("page.css").render(colors=COLORS))
