"""Open a page from disk in Chromium at desktop, phone and paper width, and record its content and requests."""

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium")
WIDTHS = (1280, 390, 360)
PAPER = 720  # width of A4 between its margins, in CSS pixels
_WIDTH = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
_CONTENTS = "Array.from(document.querySelectorAll('details > :not(summary)'))"
_FOLDED = f"{_CONTENTS}.filter(content => !content.checkVisibility()).length"
_FIGURES = "Array.from(document.querySelectorAll('figure[id]'))"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@dataclass
class Opened:
    """Content of a page and the requests, messages and widths observed in the browser."""

    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    drawn: dict[str, int] = field(default_factory=dict)  # marks by chart
    labels: dict[str, list[str]] = field(default_factory=dict)  # texts by chart
    titles: dict[str, list[str]] = field(default_factory=dict)  # shown on hover, by chart
    text: str = ""
    pwned: object = None
    elements: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # links without a target on the page
    wide: dict[str, tuple[int, int]] = field(default_factory=dict)  # width of the page and of the screen, in pixels
    sheets: int = 0
    folded_when_printed: int = -1

    @property
    def too_wide(self) -> dict[str, tuple[int, int]]:
        """Views in which the page is wider than the screen or the paper."""
        assert len(self.wide) == 2 * len(WIDTHS) + 1
        return {name: widths for name, widths in self.wide.items() if widths[0] > widths[1]}


def open_page(path: Path) -> Opened:
    """Open a page, measure it at several widths, and print it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install gristmill[dev]")
    opened = Opened()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
        tab.on("request", lambda request: opened.requests.append(request.url))
        tab.on("console", lambda message: opened.messages.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: opened.messages.append(str(error)))
        tab.goto(path.as_uri())
        _read(tab, opened)
        _from_several_widths(tab, opened)
        _print(tab, opened)
        browser.close()
    return opened


def _read(tab: "Page", opened: Opened) -> None:
    def by_figure(expression: str) -> dict[str, Any]:
        values: dict[str, Any] = tab.evaluate(f"Object.fromEntries({_FIGURES}.map(f => [f.id, {expression}]))")
        return values

    opened.drawn = by_figure("f.querySelectorAll('svg rect, svg polyline').length")
    opened.labels = by_figure("Array.from(f.querySelectorAll('svg text, .bar span')).map(t => t.textContent)")
    opened.titles = by_figure("Array.from(f.querySelectorAll('svg title')).map(t => t.textContent)")
    opened.text = tab.evaluate("document.querySelector('main').textContent")
    opened.elements = Counter(tab.evaluate("Array.from(document.querySelectorAll('*')).map(e => e.localName)"))
    opened.links = tab.evaluate("Array.from(document.querySelectorAll('a')).map(a => a.getAttribute('href'))")
    opened.lost = [link for link in opened.links if not tab.query_selector(link)]
    opened.pwned = tab.evaluate("window.pwned ?? null")


def _from_several_widths(tab: "Page", opened: Opened) -> None:
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        for unfolded in ("false", "true"):
            tab.evaluate(f"document.querySelectorAll('details').forEach(each => {{ each.open = {unfolded}; }})")
            opened.wide[f"{width}, unfolded: {unfolded}"] = tab.evaluate(_WIDTH)


def _print(tab: "Page", opened: Opened) -> None:
    tab.set_viewport_size({"width": PAPER, "height": 900})
    tab.emulate_media(media="print")
    opened.wide["paper"] = tab.evaluate(_WIDTH)
    tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = false; })")
    opened.folded_when_printed = tab.evaluate(_FOLDED)
    opened.sheets = len(re.findall(rb"/Type\s*/Page\b", tab.pdf(format="A4")))
