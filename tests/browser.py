"""A page opened from disk in a real browser: on a desk, on a phone and on paper, and what it did there."""

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
PAPER = 720  # pixels that A4 has between its margins
_WIDTH = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
_FIGURES = "Array.from(document.querySelectorAll('figure.chart'))"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@dataclass
class Opened:
    """What a browser saw."""

    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    specs: dict[str, Any] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=dict)  # marks by chart
    labels: dict[str, list[str]] = field(default_factory=dict)  # texts by chart
    text: str = ""
    tip: str = ""  # what hovering a bar shows
    pwned: object = None
    elements: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # links that lead nowhere
    wide: dict[str, tuple[int, int]] = field(default_factory=dict)  # the page's width and the screen's
    sheets: int = 0
    folded_when_printed: int = -1

    @property
    def too_wide(self) -> dict[str, tuple[int, int]]:
        """Where the page is wider than the screen or the paper."""
        assert len(self.wide) == 2 * len(WIDTHS) + 1
        return {name: widths for name, widths in self.wide.items() if widths[0] > widths[1]}


def open_page(path: Path, *, hovered: str | None = None, number: int = 0) -> Opened:
    """Opens a page, hovers one of the elements that a selector finds, looks from several widths, and prints it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install gristmill[dev]")
    seen = Opened()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
        tab.on("request", lambda request: seen.requests.append(request.url))
        tab.on("console", lambda message: seen.messages.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: seen.messages.append(str(error)))
        tab.goto(path.as_uri())
        if tab.query_selector("figure.chart"):
            tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=60_000)
        _read(tab, seen)
        if hovered:
            _hover(tab, seen, hovered, number)
        _from_several_widths(tab, seen)
        _print(tab, seen)
        browser.close()
    return seen


def _read(tab: "Page", seen: Opened) -> None:
    def by_figure(what: str) -> dict[str, Any]:
        found: dict[str, Any] = tab.evaluate(f"Object.fromEntries({_FIGURES}.map(f => [f.id, {what}]))")
        return found

    seen.specs = by_figure("JSON.parse(f.querySelector('script').textContent)")
    seen.drawn = by_figure("f.querySelectorAll('svg .role-mark path, svg .role-mark line').length")
    seen.labels = by_figure("Array.from(f.querySelectorAll('svg text')).map(t => t.textContent)")
    seen.text = tab.evaluate("document.querySelector('main').textContent")
    seen.elements = Counter(tab.evaluate("Array.from(document.querySelectorAll('*')).map(e => e.localName)"))
    seen.links = tab.evaluate("Array.from(document.querySelectorAll('a')).map(a => a.getAttribute('href'))")
    seen.lost = [link for link in seen.links if not tab.query_selector(link)]
    seen.pwned = tab.evaluate("window.pwned ?? null")


def _hover(tab: "Page", seen: Opened, selector: str, number: int) -> None:
    bar = tab.locator(selector).nth(number)
    bar.scroll_into_view_if_needed()
    tab.wait_for_timeout(300)  # scrolling, which hides what is shown, ends
    bar.hover()
    tab.wait_for_selector("#tip:not([hidden])")
    seen.tip = tab.evaluate("document.querySelector('#tip').textContent")


def _from_several_widths(tab: "Page", seen: Opened) -> None:
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        for unfolded in ("false", "true"):
            tab.evaluate(f"document.querySelectorAll('details').forEach(each => {{ each.open = {unfolded}; }})")
            seen.wide[f"{width}, unfolded: {unfolded}"] = tab.evaluate(_WIDTH)


def _print(tab: "Page", seen: Opened) -> None:
    tab.set_viewport_size({"width": PAPER, "height": 900})
    tab.emulate_media(media="print")
    seen.wide["paper"] = tab.evaluate(_WIDTH)
    tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = false; })")
    seen.sheets = len(re.findall(rb"/Type\s*/Page\b", tab.pdf(format="A4")))
    seen.folded_when_printed = tab.evaluate("document.querySelectorAll('details:not([open])').length")
