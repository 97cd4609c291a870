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
_FIGURES = "Array.from(document.querySelectorAll('figure[id]'))"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@dataclass
class Opened:
    """Content of a page and the requests, messages and widths observed in the browser."""

    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    specs: dict[str, Any] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=dict)  # marks by chart
    labels: dict[str, list[str]] = field(default_factory=dict)  # texts by chart
    titles: dict[str, list[str]] = field(default_factory=dict)  # shown on hover, by chart
    text: str = ""
    tip: str = ""  # tooltip of the hovered bar
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


def open_page(path: Path, *, hovered: str | None = None, number: int = 0) -> Opened:
    """Open a page, hover over element `number` of a selector, measure it at several widths, and print it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install gristmill[dev]")
    opened = Opened()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
        tab.on("request", lambda request: opened.requests.append(request.url))
        tab.on("console", lambda message: opened.messages.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: opened.messages.append(str(error)))
        tab.goto(path.as_uri())
        if tab.query_selector("figure.chart"):
            tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=60_000)
        _read(tab, opened)
        if hovered:
            _hover(tab, opened, hovered, number)
        _from_several_widths(tab, opened)
        _print(tab, opened)
        browser.close()
    return opened


def _read(tab: "Page", opened: Opened) -> None:
    def by_figure(expression: str) -> dict[str, Any]:
        values: dict[str, Any] = tab.evaluate(f"Object.fromEntries({_FIGURES}.map(f => [f.id, {expression}]))")
        return values

    opened.specs = by_figure("JSON.parse(f.querySelector('script')?.textContent ?? 'null')")
    opened.drawn = by_figure("f.querySelectorAll('svg .role-mark path, svg .role-mark line, svg rect').length")
    opened.labels = by_figure("Array.from(f.querySelectorAll('svg text, .bar span')).map(t => t.textContent)")
    opened.titles = by_figure("Array.from(f.querySelectorAll('svg title')).map(t => t.textContent)")
    opened.text = tab.evaluate("document.querySelector('main').textContent")
    opened.elements = Counter(tab.evaluate("Array.from(document.querySelectorAll('*')).map(e => e.localName)"))
    opened.links = tab.evaluate("Array.from(document.querySelectorAll('a')).map(a => a.getAttribute('href'))")
    opened.lost = [link for link in opened.links if not tab.query_selector(link)]
    opened.pwned = tab.evaluate("window.pwned ?? null")


def _hover(tab: "Page", opened: Opened, selector: str, number: int) -> None:
    bar = tab.locator(selector).nth(number)
    bar.scroll_into_view_if_needed()
    tab.wait_for_timeout(300)  # until scrolling ends, which hides the tooltip
    bar.hover()
    tab.wait_for_selector("#tip:not([hidden])")
    opened.tip = tab.evaluate("document.querySelector('#tip').textContent")


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
    opened.sheets = len(re.findall(rb"/Type\s*/Page\b", tab.pdf(format="A4")))
    opened.folded_when_printed = tab.evaluate("document.querySelectorAll('details:not([open])').length")
