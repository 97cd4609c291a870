"""What each rule took: credited to it, refused by it, by it alone, and which rules refuse the same documents."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.examples import dropped_examples
from corpus.inspect.report.summary_types import Fate, RuleCount, RulePair
from corpus.quality.rule import Rule

GATES = {"empty": "no text was left after extraction", "language": "the language that the recipe asks of this source"}
SHOWN_PAIRS = 8
_BETWEEN = "\n"  # names of rules; none has it in its own


def rule_counts(rules: Sequence[Rule], fates: Sequence[Fate], dropped: Sequence[Path]) -> tuple[RuleCount, ...]:
    """Gates first, then the recipe's rules in its order, each with what it dropped; also those that dropped nothing."""
    credited = {fate.reason: fate.records for fate in fates if fate.stage == "clean" and fate.outcome == "dropped"}
    failing: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for names, documents in _refusals(dropped):
        failing.update(dict.fromkeys(names, documents))
        if len(names) == 1:
            alone[names[0]] += documents
    examples = dropped_examples(dropped, {rule.name: rule for rule in rules})
    stated = {rule.name: (rule.bound, rule.source) for rule in rules}
    gates = {name: ("", GATES.get(name, "")) for name in sorted({*credited, *failing}) if name not in stated}
    return tuple(
        RuleCount(
            name=name,
            bound=bound,
            stated_by=source,
            dropped=credited.get(name, 0),
            failing=failing[name],
            alone=alone[name],
            examples=examples.get(name, ()),
        )
        for name, (bound, source) in {**gates, **stated}.items()
    )


def rule_pairs(order: Mapping[str, int], dropped: Sequence[Path]) -> tuple[RulePair, ...]:
    """The pairs of rules that most often refuse the same document; within a pair they stand in this order."""
    found: Counter[tuple[str, str]] = Counter()
    for names, documents in _refusals(dropped):
        for first, second in combinations(sorted(names, key=lambda name: (order.get(name, -1), name)), 2):
            found[first, second] += documents
    most = sorted(found.items(), key=lambda each: (-each[1], each[0]))[:SHOWN_PAIRS]
    return tuple(RulePair(first=first, second=second, documents=count) for (first, second), count in most)


def _refusals(dropped: Sequence[Path]) -> Iterator[tuple[list[str], int]]:
    """Each set of rules that refused documents of a shard, and how many."""
    for path in dropped:
        joined = pc.binary_join(pq.read_table(path, columns=["failed_rules"])["failed_rules"], _BETWEEN)
        for row in pc.value_counts(joined).to_pylist():
            yield list(dict.fromkeys((row["values"] or "").split(_BETWEEN))), row["counts"]
