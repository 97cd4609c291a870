"""The report in a real browser, opened from disk: it draws, asks nobody for anything, and runs nothing foreign."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.inspect.report.collect import collect
from corpus.inspect.report.render import render
from corpus.inspect.report.summary import SourceSummary, Summary, read_summary
from corpus.store.ledger import Ledger
from tests.browser import Opened, needs_chromium, open_page
from tests.made_report import HOSTILE, make_evidence
from tests.small_build import built

pytestmark = needs_chromium

HOVERED = 1  # the source of that bar
UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
HOSTILE_SOURCE = f"evil{HOSTILE}<img src=x onerror=window.pwned=2>"


@pytest.fixture(scope="module", params=["made", "small"])
def report_page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html and summary.json: of made sources with hostile names, and of the small build."""
    if request.param == "small":
        return built(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("report")
    evidence = make_evidence(folder, ("books", HOSTILE_SOURCE, "web"), 100)
    ledgers = {name: Ledger.of([ledger.json()]) for name, ledger in evidence.ledgers.items()}
    ledgers["clean.web"].add("web", "dropped", f"rule{HOSTILE}", records=2)
    summary = collect(replace(evidence, ledgers=ledgers))
    (folder / "summary.json").write_text(summary.text(), encoding="utf-8")
    (folder / "report.html").write_text(render(summary), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def opened(report_page: Path) -> Opened:
    return open_page(report_page / "report.html", hovered="#funnel svg .mark-rect path", number=4 * HOVERED)


@pytest.fixture(scope="module")
def summary(report_page: Path) -> Summary:
    return read_summary(report_page)


def test_it_asks_for_itself_only_and_complains_of_nothing(opened: Opened, report_page: Path) -> None:
    assert opened.requests == [(report_page / "report.html").as_uri()]
    assert opened.messages == []


def test_every_chart_is_drawn(opened: Opened, summary: Summary) -> None:
    expected = {"whole", "funnel", "ends", "rule-sets", "shares", "languages"}
    expected |= {"drops"} if any(rule.dropped for source in summary.sources for rule in source.rules) else set()
    expected |= {"merges"} if summary.merges else set()
    for number, source in enumerate(summary.sources):
        expected |= {f"lengths-{number}"} if source.lengths else set()
        expected |= {f"hosts-{number}"} if source.hosts else set()
        drawn = [each for each in source.signals if sum(each.kept) + sum(each.dropped)]
        expected |= {f"signal-{number}-{index}" for index in range(len(drawn))}
    assert set(opened.specs) == expected
    assert {name for name, marks in opened.drawn.items() if marks < 1} == set()


def test_nothing_foreign_ran_or_became_markup(opened: Opened, summary: Summary) -> None:
    assert opened.pwned is None
    assert {"img", "iframe", "object", "embed", "link"} & set(opened.elements) == set()
    assert opened.links and opened.lost == [] and all(link.startswith("#") for link in opened.links)
    assert opened.elements["script"] == len(opened.specs) + 2


def test_foreign_text_is_shown_as_it_is(opened: Opened, summary: Summary) -> None:
    shown = {source.name for source in summary.sources}
    for source in summary.sources:
        shown |= {fate.reason for fate in source.fates if fate.outcome in ("skipped", "failed")}
        for example in [*source.kept_examples, *(each for rule in source.rules for each in rule.examples)]:
            shown |= {example.excerpt or "", example.url or example.origin}
        for side in (side for pair in source.duplicates for side in (pair.removed, pair.survivor)):
            shown |= {text for text, _ in side.pieces} | {side.id, side.url or side.origin}
        shown |= {each.host for each in source.hosts.top} if source.hosts else set()
    seen = re.sub(r"\s+", " ", opened.text)
    assert {text for text in shown if re.sub(r"\s+", " ", UNSHOWN.sub("\ufffd", text)) not in seen} == set()
    if HOSTILE_SOURCE in shown:
        assert any(HOSTILE[:8] in label for label in opened.labels["funnel"]), "a name on an axis"
        assert any(HOSTILE in label for label in opened.labels["drops"]) or "drops" not in opened.specs


def test_hovering_shows_a_bars_numbers_as_text(opened: Opened, summary: Summary) -> None:
    source = summary.sources[HOVERED]
    for text in (source.name, "records read", f"{source.records_read:,}", "100.0%"):
        assert text in opened.tip


def test_page_fits_the_screen_and_the_paper(opened: Opened) -> None:
    assert opened.too_wide == {}


def test_it_prints_unfolded(opened: Opened) -> None:
    assert opened.sheets > 4 and opened.folded_when_printed == 0


def test_spans_that_duplicates_share_are_marked(opened: Opened, summary: Summary) -> None:
    pairs = [pair for source in summary.sources for pair in source.duplicates]
    shared = sum(marked for pair in pairs for side in (pair.removed, pair.survivor) for _, marked in side.pieces)
    assert pairs and opened.elements["mark"] == shared + 1  # and the one that explains


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


def test_the_whole_is_the_ledgers_sums(opened: Opened, summary: Summary) -> None:
    rows = values(opened.specs["whole"], 0)
    found = {row["end"]: row["records"] for row in rows}
    assert all(row["to"] - row["from"] == row["records"] for row in rows)
    expected: Counter[str] = Counter()
    for source in summary.sources:
        expected["records read"] += records(source, "clean")
        expected["training shards"] += source.train.documents
        expected["holdout shards"] += source.holdout.documents
        expected["over quota"] += records(source, "mix", "skipped")
        expected["duplicate"] += records(source, "text", "merged")
        for end, outcome in (("dropped by a rule", "dropped"), ("skipped", "skipped"), ("failed", "failed")):
            expected[end] += records(source, "clean", outcome)
    assert found == +expected
    label = f"{expected['records read']:,} · 100.0%"
    assert label in opened.labels["whole"]


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
        credited: Counter[tuple[str, str]] = Counter()
        for row in values(opened.specs["drops"], 0):
            credited[row["source"], row["rule"]] += row["documents"] * (row["order"] < 2)
        assert credited == dropped
        for source in summary.sources:
            for rule in (rule for rule in source.rules if rule.dropped):
                told = [row for row in values(opened.specs["drops"], 0) if row["rule"] == rule.name]
                told = [row["documents"] for row in told if row["source"] == source.name]
                assert told == [rule.alone, rule.dropped - rule.alone, max(rule.failing - rule.dropped, 0)]
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
            shown = [row["bound"] for row in values(spec, 2)]
            assert shown == [bound for bound in bounds if signal.edges[0] <= bound <= signal.edges[-1]]
            assert shown, "at least one bound is in sight"
            for bound in shown:
                assert any(f"{bound:,g}" in text for text in opened.labels[f"signal-{number}-{index}"])


def test_hosts_show_the_summarys_numbers(opened: Opened, summary: Summary) -> None:
    for number, source in enumerate(summary.sources):
        if source.hosts:
            found = {(row["what"], row["fate"]): row["documents"] for row in values(opened.specs[f"hosts-{number}"], 0)}
            expected = {(each.host, "kept"): each.kept for each in source.hosts.top[:10]}
            assert found == expected | {(each.host, "dropped"): each.dropped for each in source.hosts.top[:10]}


def test_page_is_small_and_the_same_each_time(report_page: Path, summary: Summary) -> None:
    written = (report_page / "report.html").read_text(encoding="utf-8")
    assert render(summary) == written
    assert len(written.encode()) < 1_500_000
    embedded = re.findall(r'<script type="application/json">(.*?)</script>', written)
    assert all(json.loads(each) for each in embedded) and embedded
