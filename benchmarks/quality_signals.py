"""Gopher quality and repetition: UTF-8 MB/s on one core, compared with datatrove's filters on the same texts.

    python benchmarks/quality_signals.py [TEXTS.jsonl.zst] [--megabytes 1] [--rounds 3]

Ours measures all signals, including those of other rule sets, and applies both rule sets; datatrove's two filters stop
at the first failing rule. Both process the same pages alternately in one process. Rates are by CPU time. Compilation,
which numba caches between processes, is timed separately with the first page. datatrove needs `spacy`.
"""

import statistics
import sys
from pathlib import Path

from common import Step, arguments, described, on_one_core, pages, record, seconds
from datatrove.data import Document
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpus.quality.catalog import rule_sets
from corpus.quality.kernels.measure import measure
from corpus.quality.rule import failing


def steps() -> dict[str, Step]:
    """Return both implementations; each returns the verdict on one document."""
    rules = (*rule_sets()["gopher_quality"], *rule_sets()["gopher_repetition"])
    quality, repetition = GopherQualityFilter(), GopherRepetitionFilter()

    def theirs(text: str) -> bool:
        document = Document(text=text, id="0")
        return quality.filter(document) is True and repetition.filter(document) is True

    return {"gristmill": lambda text: not failing(rules, measure(text)), "datatrove": theirs}


def main() -> None:
    options = arguments(__doc__, megabytes=1.0)
    on_one_core()
    texts = pages(options.texts, options.megabytes)
    size = sum(len(text.encode()) for text in texts)
    first = {who: seconds(step, texts[:1]) for who, step in steps().items()}
    taken = [{who: seconds(step, texts) for who, step in steps().items()} for _ in range(options.rounds)]
    rates = {who: round(size / statistics.median(times[who] for times in taken) / 1e6, 2) for who in first}
    agree = sum(steps()["gristmill"](text) == steps()["datatrove"](text) for text in texts)
    ratio = round(rates["gristmill"] / rates["datatrove"], 1)
    figures = {
        "texts": described(options.texts, texts),
        "rounds": options.rounds,
        "mb_per_s": rates,
        "first_page_s": {who: round(taken_s, 2) for who, taken_s in first.items()},
        "same_verdict": agree,
        "ratio": ratio,
    }
    claim = "Gopher quality and repetition verdicts, UTF-8 MB/s of one core's CPU time"
    record("quality_signals", claim, ("numba", "numpy", "datatrove", "spacy"), figures)
    table = Table("", "MB/s", "first page, s", title=f"{len(texts)} pages, {options.rounds} rounds, one core")
    for who, rate in rates.items():
        table.add_row(who, str(rate), f"{first[who]:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{ratio} times datatrove's rate; the same verdict on {agree} of {len(texts)} pages")


if __name__ == "__main__":
    main()
