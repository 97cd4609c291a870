"""report.html: a Summary as a page for people, by the template corpus/display/report.html."""

from collections.abc import Iterator
from typing import NamedTuple

from corpus.display import page
from corpus.inspect.report import charts, counts, summary_tables
from corpus.inspect.report.summary import Histogram, Summary

CONTENTS = {  # links at the top of the page
    "sources": "Sources",
    "rules": "Rules",
    "signals": "Signals",
    "duplicates": "Duplicates",
    "documents": "Documents",
    "shares": "Shares and holdout",
    "hosts": "Hosts",
    "lengths": "Lengths",
    "shards": "Shards",
    "identity": "Licenses and languages",
}
SHORTFALLS = {
    "accept": "a source with too few tokens gives all it has, and the others what was asked of them",
    "scale": "if a source has too few tokens, all others give fewer too, so that the shares are kept",
    "stop": "a source with too few tokens stops the build",
}


class SignalFigure(NamedTuple):
    """A histogram on the page."""

    name: str  # unique in the page
    source: str
    histogram: Histogram
    credited: int  # documents dropped by its rule

    @property
    def remark(self) -> str:
        """Bounds, and documents that the rule dropped or could not measure."""
        signal, bounds = self.histogram, (("at least", self.histogram.at_least), ("at most", self.histogram.at_most))
        stated = ", ".join(f"{name} {bound:,g}" for name, bound in bounds if bound is not None)
        missing = f"; {signal.not_measured:,} not measured" if signal.not_measured else ""
        return f"{'stated by the record' if signal.yes_or_no else stated}; {self.credited:,} credited{missing}"


def report_page(summary: Summary) -> str:
    """Return the page."""
    return page.render(
        "report.html",
        f"{summary.name}: corpus report",
        summary=summary,
        signals=sorted(_signals(summary), key=lambda figure: -figure.credited),
        charts=charts,
        tables=summary_tables,
        limits=counts,
        contents=CONTENTS,
        shortfalls=SHORTFALLS,
    )


def _signals(summary: Summary) -> Iterator[SignalFigure]:
    """Yield the histograms of the signals that were measured."""
    for number, source in enumerate(summary.sources):
        credited = {rule.name: rule.dropped for rule in source.rules}
        measured = [signal for signal in source.signals if sum(signal.kept) + sum(signal.dropped)]
        for index, signal in enumerate(measured):
            yield SignalFigure(f"signal-{number}-{index}", source.name, signal, credited.get(signal.rule, 0))
