"""The report in a real browser, opened from disk: it draws, asks nobody for anything, and runs nothing foreign."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from made_report import HOSTILE, make_evidence

from corpus.report.collect import collect
from corpus.report.render import render
from corpus.report.summary import SourceSummary, Summary, read_summary
from corpus.store.ledger import Ledger

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install gristmill[dev]")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")

HOVERED = 1  # the source of that bar
HOSTILE_SOURCE = f"evil{HOSTILE}<img src=x onerror=window.pwned=2>"


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html and summary.json. A real build's folder serves as well."""
    folder = tmp_path_factory.mktemp("report")
    evidence = make_evidence(folder, ("books", HOSTILE_SOURCE, "web"), 100)
    ledgers = {name: Ledger.of([ledger.json()]) for name, ledger in evidence.ledgers.items()}
    ledgers["clean.web"].add("web", "dropped", f"rule{HOSTILE}", records=2)
    summary = collect(replace(evidence, ledgers=ledgers))
    (folder / "summary.json").write_text(summary.text(), encoding="utf-8")
    (folder / "report.html").write_text(render(summary), encoding="utf-8")
    return folder


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
    wide: dict[int, int] = field(default_factory=dict)  # the page's width by the screen's


@pytest.fixture(scope="module")
def opened(report_page: Path) -> Iterator[Opened]:
    seen = Opened()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        tab.on("request", lambda request: seen.requests.append(request.url))
        tab.on("console", lambda message: seen.messages.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: seen.messages.append(str(error)))
        tab.goto((report_page / "report.html").as_uri())
        tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=60_000)
        figures = "Array.from(document.querySelectorAll('figure.chart'))"
        seen.specs = tab.evaluate(
            f"Object.fromEntries({figures}.map(f => [f.id, JSON.parse(f.querySelector('script').textContent)]))"
        )
        marks = "f.querySelectorAll('svg .role-mark path, svg .role-mark line').length"
        seen.drawn = tab.evaluate(f"Object.fromEntries({figures}.map(f => [f.id, {marks}]))")
        texts = "Array.from(f.querySelectorAll('svg text')).map(t => t.textContent)"
        seen.labels = tab.evaluate(f"Object.fromEntries({figures}.map(f => [f.id, {texts}]))")
        seen.text = tab.evaluate("document.querySelector('main').textContent")
        bar = tab.locator("#funnel svg .mark-rect path").nth(4 * HOVERED)
        bar.scroll_into_view_if_needed()
        tab.wait_for_timeout(300)  # scrolling, which hides what is shown, ends
        bar.hover()
        tab.wait_for_selector("#tip:not([hidden])")
        seen.tip = tab.evaluate("document.querySelector('#tip').textContent")
        seen.pwned = tab.evaluate("window.pwned ?? null")
        seen.elements = Counter(tab.evaluate("Array.from(document.querySelectorAll('*')).map(e => e.localName)"))
        for width in (1200, 390):
            tab.set_viewport_size({"width": width, "height": 900})
            seen.wide[width] = tab.evaluate("document.documentElement.scrollWidth")
        browser.close()
    yield seen


@pytest.fixture(scope="module")
def summary(report_page: Path) -> Summary:
    return read_summary(report_page)


def test_it_asks_for_itself_only_and_complains_of_nothing(opened: Opened, report_page: Path) -> None:
    assert opened.requests == [(report_page / "report.html").as_uri()]
    assert opened.messages == []


def test_every_chart_is_drawn(opened: Opened, summary: Summary) -> None:
    expected = {"funnel", "ends", "rule-sets", "shares", "languages"}
    expected |= {"drops"} if any(rule.dropped for source in summary.sources for rule in source.rules) else set()
    expected |= {"merges"} if summary.merges else set()
    for number, source in enumerate(summary.sources):
        expected |= {f"lengths-{number}"} if source.lengths else set()
        drawn = [each for each in source.signals if sum(each.kept) + sum(each.dropped)]
        expected |= {f"signal-{number}-{index}" for index in range(len(drawn))}
    assert set(opened.specs) == expected
    assert {name for name, marks in opened.drawn.items() if marks < 1} == set()


def test_nothing_foreign_ran_or_became_markup(opened: Opened, summary: Summary) -> None:
    assert opened.pwned is None
    assert {"img", "iframe", "object", "embed", "link", "a"} & set(opened.elements) == set()
    assert opened.elements["script"] == len(opened.specs) + 2


def test_foreign_text_is_shown_as_it_is(opened: Opened, summary: Summary) -> None:
    shown = {source.name for source in summary.sources}
    for source in summary.sources:
        shown |= {fate.reason for fate in source.fates if fate.outcome in ("skipped", "failed")}
        for example in [*source.kept_examples, *(each for rule in source.rules for each in rule.examples)]:
            shown |= {example.excerpt or "", example.url or example.origin}
    assert {text for text in shown if text not in opened.text} == set()
    if any(HOSTILE in text for text in shown):
        assert any(HOSTILE[:8] in label for label in opened.labels["funnel"]), "a name on an axis"
        assert any(HOSTILE in label for label in opened.labels["drops"]) or "drops" not in opened.specs


def test_hovering_shows_a_bars_numbers_as_text(opened: Opened, summary: Summary) -> None:
    source = summary.sources[HOVERED]
    for text in (source.name, "records read", f"{source.records_read:,}", "100.0%"):
        assert text in opened.tip


def test_page_fits_the_screen(opened: Opened) -> None:
    assert opened.wide == {1200: 1200, 390: 390}


def values(spec: Mapping[str, Any], layer: int | None = None) -> list[dict[str, Any]]:
    """The rows of a chart, or of one of its layers (where each has its own, the first)."""
    data = spec["data"] if "data" in spec else spec["layer"][layer or 0]["data"]
    rows: list[dict[str, Any]] = spec["datasets"][data["name"]] if "name" in data else data["values"]
    return rows


def test_funnel_and_ends_show_the_ledgers_numbers(opened: Opened, summary: Summary) -> None:
    funnel = {(row["source"], row["stage"]): row["documents"] for row in values(opened.specs["funnel"])}
    ends = {(row["source"], row["end"]): row["documents"] for row in values(opened.specs["ends"])}
    expected, ended = {}, {}
    for source in summary.sources:
        expected[source.name, "records read"] = records(source, "clean")
        expected[source.name, "passed the rules"] = records(source, "clean", "kept")
        expected[source.name, "not a duplicate"] = records(source, "text", "kept")
        expected[source.name, "in token shards"] = source.train.documents + source.holdout.documents
        ended[source.name, "training shards"] = source.train.documents
        ended[source.name, "holdout shards"] = source.holdout.documents
        ended[source.name, "over quota"] = records(source, "mix", "skipped")
        ended[source.name, "duplicate"] = records(source, "text", "merged")
        for end, outcome in (("dropped by a rule", "dropped"), ("skipped", "skipped"), ("failed", "failed")):
            ended[source.name, end] = records(source, "clean", outcome)
    assert funnel == expected
    assert ends == ended
    assert set(opened.labels["funnel"]) >= {f"{count:,}" for count in expected.values()}


def records(source: SourceSummary, stage: str, outcome: str | None = None) -> int:
    """A sum over the entries that the summary took over from the ledgers."""
    return sum(fate.records for fate in source.fates if fate.stage == stage and outcome in (None, fate.outcome))


def test_drops_and_merges_show_the_ledgers_numbers(opened: Opened, summary: Summary) -> None:
    dropped = {
        (source.name, fate.reason): fate.records
        for source in summary.sources
        for fate in source.fates
        if (fate.stage, fate.outcome) == ("clean", "dropped")
    }
    if dropped:
        assert {(row["source"], row["rule"]): row["documents"] for row in values(opened.specs["drops"])} == dropped
    merged: Counter[tuple[str, str]] = Counter()
    for row in values(opened.specs["merges"]) if summary.merges else []:
        merged[row["source"], row["reason"]] += row["documents"]
    assert merged == {
        (source.name, fate.reason): fate.records
        for source in summary.sources
        for fate in source.fates
        if fate.outcome == "merged"
    }


def test_other_charts_show_the_summarys_numbers(opened: Opened, summary: Summary) -> None:
    sets = {
        (row["source"], row["rules"]): (row["would_drop"], row["documents"])
        for row in values(opened.specs["rule-sets"])
    }
    shares = {(row["source"], row["what"]): row["share"] for row in values(opened.specs["shares"])}
    languages: Counter[str] = Counter()
    for row in values(opened.specs["languages"]):
        languages[row["source"]] += row["documents"]
    for number, source in enumerate(summary.sources):
        for each in source.rule_sets:
            assert sets.pop((source.name, each.name)) == (each.would_drop, each.documents)
        assert shares.pop((source.name, "asked")) == source.share_asked
        assert shares.pop((source.name, "got")) == source.share_got
        assert languages[source.name] == sum(source.languages.values()) == records(source, "clean", "kept")
        lengths: Counter[str] = Counter()
        for row in values(opened.specs[f"lengths-{number}"]) if source.lengths else []:
            lengths[row["split"]] += row["documents"]
        assert (lengths["train"], lengths["holdout"]) == (source.train.documents, source.holdout.documents)
    assert not sets and not shares


def test_histograms_show_every_bar_and_bound(opened: Opened, summary: Summary) -> None:
    for number, source in enumerate(summary.sources):
        drawn = [each for each in source.signals if sum(each.kept) + sum(each.dropped)]
        for index, signal in enumerate(drawn):
            spec = opened.specs[f"signal-{number}-{index}"]
            found: Counter[tuple[str, float]] = Counter()
            for row in values(spec, 0):
                found[row["fate"], row["from"]] += row["documents"]
            starts = signal.edges[:-1]
            expected = Counter({("kept", start): count for start, count in zip(starts, signal.kept, strict=True)})
            expected += Counter(
                {("dropped", start): count for start, count in zip(starts, signal.dropped, strict=True)}
            )
            assert found == +expected
            bounds = [bound for bound in (signal.at_least, signal.at_most) if bound is not None]
            shown = [row["bound"] for row in values(spec, 1)]
            assert shown == [bound for bound in bounds if signal.edges[0] <= bound <= signal.edges[-1]]
            assert shown, "at least one bound is in sight"


def test_page_is_small_and_the_same_each_time(report_page: Path, summary: Summary) -> None:
    written = (report_page / "report.html").read_text(encoding="utf-8")
    assert render(summary) == written
    assert len(written.encode()) < 1_500_000
    embedded = re.findall(r'<script type="application/json">(.*?)</script>', written)
    assert all(json.loads(each) for each in embedded) and embedded
