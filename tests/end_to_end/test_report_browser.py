"""The report in a real browser, opened from disk: it draws, asks nobody for anything, and runs nothing foreign."""

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.inspect.report.charts import REMOVED, all_sources
from corpus.inspect.report.collect import collect
from corpus.inspect.report.report_page import report_page
from corpus.inspect.report.summary import SourceSummary, Summary, read_summary
from corpus.store.ledger import Ledger
from tests.browser import Opened, needs_chromium, open_page
from tests.made_report import HOSTILE, make_evidence
from tests.small_build import built

pytestmark = needs_chromium

UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
HOSTILE_SOURCE = f"evil{HOSTILE}<img src=x onerror=window.pwned=2>"


@pytest.fixture(scope="module", params=["made", "small"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html and summary.json: of made sources with hostile names, and of the small build."""
    if request.param == "small":
        return built(tmp_path_factory.getbasetemp())
    folder: Path = tmp_path_factory.mktemp("report")
    evidence = make_evidence(folder, ("books", HOSTILE_SOURCE, "web"), 100)
    ledgers = {name: Ledger.of([ledger.json()]) for name, ledger in evidence.ledgers.items()}
    ledgers["clean.web"].add("web", "dropped", f"rule{HOSTILE}", records=2)
    summary = collect(replace(evidence, ledgers=ledgers))
    (folder / "summary.json").write_text(summary.text(), encoding="utf-8")
    (folder / "report.html").write_text(report_page(summary), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def opened(folder: Path) -> Opened:
    return open_page(folder / "report.html")


@pytest.fixture(scope="module")
def summary(folder: Path) -> Summary:
    return read_summary(folder)


def test_it_asks_for_itself_only_and_complains_of_nothing(opened: Opened, folder: Path) -> None:
    assert opened.requests == [(folder / "report.html").as_uri()]
    assert opened.messages == []


def test_every_chart_is_drawn(opened: Opened, summary: Summary) -> None:
    expected = {"whole", "funnel"}
    expected |= {"drops"} if any(rule.dropped for source in summary.sources for rule in source.rules) else set()
    for number, source in enumerate(summary.sources):
        expected |= {f"lengths-{number}"} if source.lengths else set()
        expected |= {f"hosts-{number}"} if source.hosts else set()
        drawn = [each for each in source.signals if sum(each.kept) + sum(each.dropped)]
        expected |= {f"signal-{number}-{index}" for index in range(len(drawn))}
    assert set(opened.drawn) == expected
    assert {name for name, marks in opened.drawn.items() if marks < 1} == set()


def test_nothing_foreign_ran_or_became_markup(opened: Opened, summary: Summary) -> None:
    assert opened.pwned is None
    assert {"img", "iframe", "object", "embed", "link"} & set(opened.elements) == set()
    assert opened.links and opened.lost == [] and all(link.startswith("#") for link in opened.links)
    assert opened.elements["script"] == 0


def test_foreign_text_is_shown_as_it_is(opened: Opened, summary: Summary) -> None:
    shown = {source.name for source in summary.sources}
    for source in summary.sources:
        shown |= {row.reason for row in source.outcomes if row.outcome in ("skipped", "failed")}
        for example in [*source.kept_examples, *(each for rule in source.rules for each in rule.examples)]:
            shown |= {example.excerpt or "", example.url or example.origin}
        for side in (side for pair in source.duplicates for side in (pair.removed, pair.survivor)):
            shown |= {text for text, _ in side.pieces} | {side.id, side.url or side.origin}
        shown |= {each.host for each in source.hosts.top} if source.hosts else set()
    seen = re.sub(r"\s+", " ", opened.text)
    assert {text for text in shown if re.sub(r"\s+", " ", UNSHOWN.sub("\ufffd", text)) not in seen} == set()
    if HOSTILE_SOURCE in shown:
        assert any(HOSTILE[:8] in label for label in opened.labels["funnel"]), "a name on an axis"
        assert any(HOSTILE in label for label in opened.labels["drops"]) or "drops" not in opened.drawn


def test_hovering_shows_a_bars_numbers_as_text(opened: Opened, summary: Summary) -> None:
    read = [title for title in opened.titles["funnel"] if title.startswith("records read")]
    assert read == [f"records read: {source.records_read:,} (100.0%)" for source in summary.sources]


def test_page_fits_the_screen_and_the_paper(opened: Opened) -> None:
    assert opened.too_wide == {}


def test_it_prints_unfolded(opened: Opened) -> None:
    assert opened.sheets > 4 and opened.folded_when_printed == 0


def test_spans_that_duplicates_share_are_marked(opened: Opened, summary: Summary) -> None:
    pairs = [pair for source in summary.sources for pair in source.duplicates]
    shared = sum(marked for pair in pairs for side in (pair.removed, pair.survivor) for _, marked in side.pieces)
    assert pairs and opened.elements["mark"] == shared + 1  # and the one that explains


def bars(folder: Path, chart: str) -> list[tuple[str, str, dict[str, int]]]:
    """Rows of a chart: name, figure, and the counts that hovering its boxes shows, by their names."""
    written = (folder / "report.html").read_text(encoding="utf-8")
    (figure,) = re.findall(f'<figure id="{chart}">(.*?)</figure>', written, re.DOTALL)
    rows = re.findall(r'<div class="bar"><span>(.*?)</span><span>(.*?)</span>(<svg.*?</svg>)', figure, re.DOTALL)
    return [(plain(name), plain(shown), counts(drawing)) for name, shown, drawing in rows]


def plain(markup: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", markup))


def counts(drawing: str) -> dict[str, int]:
    named: Counter[str] = Counter()
    for name, count in re.findall(r"<title>(.*?): ([\d,]+)(?: \(.*?\))?</title>", drawing):
        named[plain(name)] += int(count.replace(",", ""))
    return dict(named)


def table(folder: Path, first: str, columns: Sequence[int]) -> list[list[str]]:
    """Columns of the table whose first column names begin with `first`, as text."""
    written = (folder / "report.html").read_text(encoding="utf-8")
    for body in re.findall("<table>(.*?)</table>", written, re.DOTALL):
        rows = [
            re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
            for row in re.findall("<tr>(.*?)</tr>", body, re.DOTALL)
        ]
        texts = [[plain(cell) for cell in row] for row in rows]
        if " · ".join(texts[0]).startswith(first):
            return [[row[column] for column in columns] for row in texts[1:]]
    raise AssertionError(f"no table {first}")


def test_funnel_and_ends_show_the_ledgers_numbers(opened: Opened, summary: Summary, folder: Path) -> None:
    funnel = {(name, step): count for name, _, steps in bars(folder, "funnel") for step, count in steps.items()}
    expected, ended = {}, []
    for source in summary.sources:
        expected[source.name, "records read"] = records(source, "clean")
        expected[source.name, "after rules"] = records(source, "clean", "kept")
        expected[source.name, "after duplicates"] = records(source, "text", "kept")
        expected[source.name, "after quota"] = source.train.documents + source.holdout.documents
        ends = [source.train.documents, source.holdout.documents, records(source, "mix", "skipped")]
        ends += [records(source, "text", "merged")]
        ends += [records(source, "clean", outcome) for outcome in ("dropped", "skipped", "failed")]
        ended.append([source.name, *(f"{count:,}" for count in (*ends, sum(ends)))])
        assert sum(ends) == records(source, "clean")
    assert funnel == expected
    assert table(folder, "source · training shards · holdout shards", range(9)) == ended
    used = [f"{source.used:,} of {source.records_read:,}" for source in summary.sources]
    assert [figure.partition(" · ")[0] for _, figure, _ in bars(folder, "funnel")] == used


def test_the_whole_is_the_ledgers_sums(opened: Opened, summary: Summary, folder: Path) -> None:
    found = {name: count for _, _, ends in bars(folder, "whole") for name, count in ends.items()}
    rows = [row for row in all_sources(summary) if row.name in REMOVED.values()]
    for row, last in zip(rows[1:], rows, strict=False):
        assert row.boxes[0].x + row.boxes[0].width == pytest.approx(last.boxes[0].x), (
            "it begins where the last one ends"
        )
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
    return sum(row.records for row in source.outcomes if row.stage == stage and outcome in (None, row.outcome))


def test_drops_and_merges_show_the_ledgers_numbers(opened: Opened, summary: Summary, folder: Path) -> None:
    dropped = {
        (source.name, row.reason): row.records
        for source in summary.sources
        for row in source.outcomes
        if (row.stage, row.outcome) == ("clean", "dropped")
    }
    failed = {name: pieces for name, _, pieces in bars(folder, "drops")} if dropped else {}
    expected = {
        f"{source.name} · {rule.name}": {
            "failed only this rule": rule.alone,
            "failed others too, credited here": rule.dropped - rule.alone,
            "failed others too, credited to another": max(rule.failing - rule.dropped, 0),
        }
        for source in summary.sources
        for rule in source.rules
        if rule.dropped
    }
    assert failed == {name: {piece: n for piece, n in pieces.items() if n} for name, pieces in expected.items()}
    assert sum(sum(list(pieces.values())[:2]) for pieces in expected.values()) == sum(dropped.values())
    merged: Counter[tuple[str, str]] = Counter()
    for source_name, reason, documents in table(folder, "removed from", (0, 2, 3)) if summary.merges else []:
        merged[source_name, reason] += int(documents.replace(",", ""))
    assert merged == {
        (source.name, row.reason): row.records
        for source in summary.sources
        for row in source.outcomes
        if row.outcome == "merged"
    }


def test_other_tables_and_charts_show_the_summarys_numbers(opened: Opened, summary: Summary, folder: Path) -> None:
    sets = table(folder, "source · rule set", (0, 1, 3, 4))
    assert sets == [
        [source.name, each.name, f"{each.documents:,}", f"{each.would_drop:,}"]
        for source in summary.sources
        for each in source.rule_sets
    ]
    shares = table(folder, "source · asked · got", (0, 1, 2))
    assert shares == [[each.name, f"{each.share_asked:.2%}", f"{each.share_got:.2%}"] for each in summary.sources]
    languages = table(folder, "source · license", (0, 3, 4))
    for number, source in enumerate(summary.sources):
        assert languages[number][:2] == [source.name, str(len(source.languages))]
        counted = sum(int(count.replace(",", "")) for count in re.findall(r" ([\d,]*\d)", languages[number][2]))
        assert counted == sum(source.languages.values()) == records(source, "clean", "kept")
        lengths: Counter[str] = Counter()
        for _, _, columns in bars(folder, f"lengths-{number}") if source.lengths else []:
            for name, documents in columns.items():
                lengths[name.rpartition(", ")[2]] += documents
        assert (lengths["train"], lengths["holdout"]) == (source.train.documents, source.holdout.documents)


def test_histograms_show_every_bar_and_bound(opened: Opened, summary: Summary, folder: Path) -> None:
    for number, source in enumerate(summary.sources):
        drawn = [each for each in source.signals if sum(each.kept) + sum(each.dropped)]
        for index, signal in enumerate(drawn):
            chart = f"signal-{number}-{index}"
            ((_, highest, found),) = bars(folder, chart)
            expected: Counter[str] = Counter()
            columns = zip(signal.edges, signal.edges[1:], signal.kept, signal.dropped, strict=False)
            for place, (low, high, kept, dropped) in enumerate(columns):
                name = ("no", "yes")[place] if signal.yes_or_no else f"{low:g} to {high:g}"
                expected += Counter({f"{name}, kept": kept, f"{name}, dropped": dropped})
            assert found == dict(+expected)
            most = max(kept + dropped for kept, dropped in zip(signal.kept, signal.dropped, strict=True))
            assert highest == f"highest bar: {most:,}"
            bounds = [("≥", signal.at_least), ("≤", signal.at_most)]
            shown = [title for title in opened.titles[chart] if title[0] in "≥≤"]
            if signal.yes_or_no:
                assert len(shown) == 1
                continue
            seen = [(sign, each) for sign, each in bounds if each is not None]
            seen = [(sign, each) for sign, each in seen if signal.edges[0] <= each <= signal.edges[-1]]
            assert shown == [f"{sign} {bound:,g}" for sign, bound in seen]
            assert shown, "at least one bound is in sight"
            assert set(shown) <= set(opened.labels[chart])


def test_hosts_show_the_summarys_numbers(summary: Summary, folder: Path) -> None:
    for number, source in enumerate(summary.sources):
        if source.hosts:
            expected = [(each.host, {"kept": each.kept, "dropped": each.dropped}) for each in source.hosts.top[:10]]
            found = [(name, pieces) for name, _, pieces in bars(folder, f"hosts-{number}")]
            assert found == [(name, {verdict: n for verdict, n in each.items() if n}) for name, each in expected]


def test_page_is_small_and_the_same_each_time(folder: Path, summary: Summary) -> None:
    written = (folder / "report.html").read_text(encoding="utf-8")
    assert report_page(summary) == written
    assert len(written.encode()) < 500_000
