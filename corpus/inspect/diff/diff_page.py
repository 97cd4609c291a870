"""Two builds' differences as a page, in the report's frame."""

import json

from corpus.display import page
from corpus.display.page import Html
from corpus.display.page_style import STEPS
from corpus.inspect.diff.differences import Diff, Moved, SourceDiff
from corpus.inspect.report.drawing import Key, Row, Spec, grouped_bars
from corpus.units import human_count

BUILDS: Key = {"A": STEPS[0], "B": STEPS[3]}
SHOWN_MOVES = 30  # of a source
SHOWN_VALUE = 300  # characters of a setting
Rows = list[list[str | int]]


def diff_page(found: Diff) -> str:
    """The whole page."""
    parts = [_headline(found)]
    if found.differs:
        parts += [_settings(found), _files(found), _sources(found), _rules(found), _documents(found)]
    return page.page(f"{found.name_a} and {found.name_b}: two builds compared", *parts)


def _headline(found: Diff) -> Html:
    only_a, only_b = (sum(getattr(source, name) for source in found.sources) for name in ("only_a", "only_b"))
    tokens = _tokens(found)
    change = tokens[1] - tokens[0]
    figures = [
        ("Training tokens", human_count(tokens[1]), f"in B; {'+' if change >= 0 else '−'}{human_count(abs(change))}"),
        ("In A's shards alone", f"{only_a:,}", "documents"),
        ("In B's shards alone", f"{only_b:,}", "documents"),
        ("Settings", f"{len(found.settings):,}", "that differ"),
        ("Rules", f"{sum(len(source.changed_rules) for source in found.sources):,}", "that took more or less"),
        ("Tokenizer", "another" if found.tokenizer else "the same", _shared(found)),
    ]
    said = "What differs between two builds: their settings, their files, what became of the documents, and tokens."
    if not found.differs:
        said = "No difference: the same settings and files, the same documents with the same fates, the same tokens."
    folders: Rows = [
        ["A", page.foreign(found.name_a), page.foreign(found.folder_a)],
        ["B", page.foreign(found.name_b), page.foreign(found.folder_b)],
    ]
    title = found.name_a if found.name_a == found.name_b else f"{found.name_a} and {found.name_b}"
    return Html(
        page.paragraph("Two builds compared", kind="over")
        + page.heading(title, 1)
        + page.paragraph(said, kind="lead")
        + page.table(["", "build", "folder"], folders, text=(0, 1, 2))
        + (page.tiles(figures) if found.differs else "")
    )


def _tokens(found: Diff) -> tuple[int, int]:
    rows = [count for source in found.sources for count in source.counts if count.name == "training tokens"]
    return sum(row.a for row in rows), sum(row.b for row in rows)


def _shared(found: Diff) -> str:
    if found.tokenizer is None:
        return "in both"
    sizes = f"{found.tokenizer.vocabulary_a:,} and {found.tokenizer.vocabulary_b:,} tokens"
    return sizes if found.tokenizer.shared is None else f"{sizes}, {found.tokenizer.shared:,} in both"


def _settings(found: Diff) -> Html:
    rows: Rows = [
        [_long(each.path), _value(each.a, each.only != "b"), _value(each.b, each.only != "a")]
        for each in found.settings
    ]
    code: Rows = [
        [each.job, page.foreign(each.name), _value(each.a, True), _value(each.b, True)] for each in found.code
    ]
    parts = [page.table(["setting", "A", "B"], rows, text=(0, 1, 2))] if rows else []
    if not rows:
        parts = [page.paragraph("The recipes ask for the same.", kind="note")]
    if code:
        parts.append(page.heading("Code and libraries", 3))
        parts.append(page.table(["job", "of", "A", "B"], code, text=(0, 1, 2, 3)))
    return page.section(page.heading("Settings that differ"), *parts)


def _files(found: Diff) -> Html:
    rows: Rows = []
    for source in found.sources:
        if each := source.files:
            names = [_long(", ".join(first)) for first in (each.first_a, each.first_b)]
            rows.append([page.foreign(source.name), each.only_a, names[0], each.only_b, names[1]])
    if not rows:
        return Html("")
    text = "Files that one build alone read: of that name and content the other has none. The first names of each."
    columns = ["source", "in A alone", "such as", "in B alone", "such as"]
    return page.section(page.heading("Files"), page.paragraph(text), page.table(columns, rows, text=(0, 2, 4)))


def _sources(found: Diff) -> Html:
    rows: Rows = []
    for source in found.sources:
        for each in source.counts:
            if each.difference or each.name in ("records read", "training tokens"):
                change = f"{each.difference:+,}".replace("-", "−") if each.difference else "same"
                rows.append([page.foreign(source.name), each.name, each.a, each.b, change])
    caption = "Training tokens by source, as a share of the most that either build has of one."
    return page.section(
        page.heading("Records and tokens"),
        page.chart("tokens", _tokens_chart(found), caption, BUILDS),
        page.table(["source", "count", "A", "B", "B − A"], rows, text=(0, 1)),
    )


def _tokens_chart(found: Diff) -> Spec:
    counts = {s.name: next((c for c in s.counts if c.name == "training tokens"), None) for s in found.sources}
    figures = {name: (each.a, each.b) if each else (0, 0) for name, each in counts.items()}
    most = max((max(pair) for pair in figures.values()), default=0) or 1
    rows: list[Row] = [
        {"source": name, "build": build, "tokens": count, "share": count / most, "label": human_count(count)}
        for name, pair in figures.items()
        for build, count in zip(BUILDS, pair, strict=True)
    ]
    return grouped_bars(list(figures), rows, "build", BUILDS, "share of the most", most=1.0)


def _rules(found: Diff) -> Html:
    rows: Rows = []
    for source in found.sources:
        for each in source.changed_rules:
            bounds = ["(none)" if bound is None else bound for bound in (each.bound_a, each.bound_b)]
            change = f"{each.dropped_b - each.dropped_a:+,}".replace("-", "−")
            figures = (each.dropped_a, each.dropped_b, change, each.failing_a, each.failing_b)
            rows.append([page.foreign(source.name), page.code(each.rule), *bounds, *figures])
    if not rows:
        return Html("")
    columns = ["source", "rule", "bound in A", "in B", "credited in A", "in B", "B − A", "refused in A", "in B"]
    text = "Rules whose bound changed, or what is credited to them, or what they refuse."
    return page.section(page.heading("Rules"), page.paragraph(text), page.table(columns, rows, text=(0, 1, 2, 3)))


def _documents(found: Diff) -> Html:
    parts = [part for source in found.sources for part in _moves(source)]
    text = (
        "Every document of either build, by what became of it in both: in shards, over quota, a duplicate, dropped by "
        "a rule, or not in that build's input at all. Examples are those of the smallest ids."
    )
    if not parts:
        parts = [page.paragraph("Every document met the same fate in both.", kind="note")]
    return page.section(page.heading("Documents whose fate changed"), page.paragraph(text), *parts)


def _moves(source: SourceDiff) -> list[Html]:
    if not source.moves:
        return []
    rows: Rows = []
    cards = []
    for move in source.moves[:SHOWN_MOVES]:
        rows.append([page.foreign(move.a), page.foreign(move.b), move.documents])
        cards += [_card(move.a, move.b, each) for each in move.examples]
    more = len(source.moves) - len(rows)
    note = [page.paragraph(f"And {more:,} more kinds: --json lists all.", kind="note")] if more else []
    told = f"{source.same:,} documents met the same fate; in A's shards alone are {source.only_a:,}, in B's "
    return [
        page.heading(source.name, 3),
        page.paragraph(f"{told}{source.only_b:,}."),
        page.table(["in A", "in B", "documents"], rows, text=(0, 1)),
        *note,
        page.details(f"Examples: {len(cards)}", page.cards(*cards)),
    ]


def _card(a: str, b: str, example: Moved) -> Html:
    head = Html(f"{page.foreign(a)} <small>→</small> {page.foreign(b)}")
    text = Html("<i>its text was not kept</i>") if example.excerpt is None else page.foreign(example.excerpt)
    return page.card(head, text, Html(f"{page.foreign(example.url or example.origin)}<br>{page.code(example.id)}"))


def _long(text: str) -> Html:
    return Html(f'<div class="wide">{page.foreign(text)}</div>')


def _value(value: object, there: bool) -> Html:
    if not there:
        return Html('<span class="note">(none)</span>')
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _long(text if len(text) <= SHOWN_VALUE else f"{text[: SHOWN_VALUE - 1]}…")
