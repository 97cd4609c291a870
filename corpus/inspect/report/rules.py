"""Rules over stored signals: documents that failed each rule, histograms of signals, and other rule sets' verdicts.

Shards are read one at a time, so the memory needed is that of one shard.
Legend: D documents of a shard.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.inspect.report.summary import Example, Histogram, OutcomeCount, RuleCount, RulePair, RuleSetCount
from corpus.quality.rule import Rule
from corpus.quality.signals import CARRIER_SIGNALS
from corpus.store.parquet_tables import value_counts

GATES = {"empty": "no text was left after extraction", "language": "the language that the recipe asks of this source"}
SHOWN_PAIRS = 8
BINS = 40
YES_OR_NO = (-0.5, 0.5, 1.5)  # edges for a signal that is 0 or 1
SAMPLED_VALUES = 5000  # per shard, from which the range of a histogram is chosen
TAIL = 0.005  # share of the documents at either end that may be outside the range
FAR = 5  # a linear axis ends at this many times the upper bound, however long the tail
WIDE = 50  # counts that span more than this factor are drawn on a logarithmic axis
_BETWEEN = "\n"  # is in no rule's name

Shards = Sequence[tuple[Path, bool]]  # of a source's measured documents; True if they were kept
Values = NDArray[np.float64]  # one per document, NaN where nothing was measured


def failed_sets(dropped: Sequence[Path]) -> Counter[tuple[str, ...]]:
    """Count documents by the rules that they failed."""
    counts: Counter[tuple[str, ...]] = Counter()
    for path in dropped:
        joined = pc.binary_join(pq.read_table(path, columns=["failed_rules"])["failed_rules"], _BETWEEN)
        for names, documents in value_counts(joined).items():
            counts[tuple(dict.fromkeys(names.split(_BETWEEN)))] += documents
    return counts


def rule_counts(
    rules: Sequence[Rule],
    outcomes: Sequence[OutcomeCount],
    failed: Counter[tuple[str, ...]],
    examples: Mapping[str, tuple[Example, ...]],
) -> tuple[RuleCount, ...]:
    """Count the failed documents of each rule: gates first, then the recipe's rules in its order."""
    credited = {row.reason: row.records for row in outcomes if (row.stage, row.outcome) == ("clean", "dropped")}
    failing: Counter[str] = Counter()
    for names, documents in failed.items():
        failing.update(dict.fromkeys(names, documents))
    stated = {rule.name: (rule.bound, rule.source) for rule in rules}
    gates = {name: ("", GATES.get(name, "")) for name in sorted({*credited, *failing}) if name not in stated}
    return tuple(
        RuleCount(
            name=name,
            bound=bound,
            stated_by=source,
            dropped=credited.get(name, 0),
            failing=failing[name],
            alone=failed[(name,)],
            examples=examples.get(name, ()),
        )
        for name, (bound, source) in {**gates, **stated}.items()
    )


def rule_pairs(order: Sequence[str], failed: Counter[tuple[str, ...]]) -> tuple[RulePair, ...]:
    """Return the pairs of rules that most often fail together; within a pair they are in this order."""
    counts: Counter[tuple[str, str]] = Counter()
    for names, documents in failed.items():
        counts.update(dict.fromkeys(combinations(sorted(names, key=order.index), 2), documents))
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_PAIRS]
    return tuple(RulePair(first=first, second=second, documents=count) for (first, second), count in most)


def rule_set_counts(
    shards: Shards, rule_sets: Mapping[str, Sequence[Rule]], in_use: Sequence[Rule]
) -> tuple[RuleSetCount, ...]:
    """Count the documents that would fail each rule set, among all documents, kept and dropped."""
    all_rules = list({rule.name: rule for rules in rule_sets.values() for rule in rules}.values())
    used = {rule.name for rule in in_use}
    documents, would_drop = Counter[str](), Counter[str]()
    for path, _ in shards:
        rows, values = pq.read_metadata(path).num_rows, _values_of(path, all_rules)
        for name, rules in rule_sets.items():
            failing_D, known_D = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
            for rule in rules:
                if rule.name in values:
                    failing_D |= _fails(rule, values[rule.name])
                    known_D |= ~np.isnan(values[rule.name])
            would_drop[name] += int(failing_D.sum())
            documents[name] += int(known_D.sum())
    return tuple(
        RuleSetCount(
            name=name,
            rules=len(rule_sets[name]),
            rules_in_use=sum(rule.name in used for rule in rule_sets[name]),
            documents=documents[name],
            would_drop=would_drop[name],
        )
        for name in sorted(rule_sets)
    )


def _values_of(path: Path, rules: Sequence[Rule]) -> dict[str, Values]:
    """Return the values that each rule bounds, by its name, without the rules over signals that the shard lacks."""
    stored = set(pq.read_schema(path).names)
    known = [rule for rule in rules if {rule.signal, rule.per or rule.signal} <= stored]
    names = sorted({name for rule in known for name in (rule.signal, rule.per) if name})
    table = pq.read_table(path, columns=names)
    columns = {name: table[name].to_numpy().astype(np.float64) for name in names}  # null becomes NaN
    values: dict[str, Values] = {}
    for rule in known:
        values[rule.name] = columns[rule.signal]
        if rule.per is not None:
            denominators = columns[rule.per]
            with np.errstate(divide="ignore", invalid="ignore"):
                values[rule.name] = np.where(denominators == 0, np.nan, columns[rule.signal] / denominators)
    return values


def _fails(rule: Rule, values: Values) -> NDArray[np.bool_]:
    """Apply a rule to a column; NaN passes, as None does in Rule.passes."""
    below = values < (-np.inf if rule.at_least is None else rule.at_least)
    return below | (values > (np.inf if rule.at_most is None else rule.at_most))


def histograms(shards: Shards, rules: Sequence[Rule]) -> tuple[Histogram, ...]:
    """Return one histogram per rule. The shards are read twice: first to choose the range, then to count."""
    samples: dict[str, list[Values]] = {rule.name: [np.empty(0)] for rule in rules}
    for path, _ in shards:
        for name, values in _values_of(path, rules).items():
            samples[name].append(values[:: max(1, -(-len(values) // SAMPLED_VALUES))])
    axes = {rule.name: _axis(rule, np.concatenate(samples[rule.name])) for rule in rules}
    bins = {name: len(edges) - 1 for name, (_, edges) in axes.items()}
    counts = {(name, kept): np.zeros(bins[name], np.int64) for name in axes for kept in (True, False)}
    missing: Counter[str] = Counter()
    for path, kept in shards:
        for name, values in _values_of(path, rules).items():
            edges, real = axes[name][1], values[~np.isnan(values)]
            missing[name] += len(values) - len(real)
            inside = np.clip(real, edges[0], edges[-1])  # values beyond the outer edges fall into the outer bins
            counts[name, kept] += np.histogram(inside, edges)[0]
    return tuple(
        Histogram(
            rule=rule.name,
            at_least=None if rule.at_least is None else float(rule.at_least),
            at_most=None if rule.at_most is None else float(rule.at_most),
            logarithmic=axes[rule.name][0],
            yes_or_no=_is_yes_or_no(rule),
            edges=tuple(axes[rule.name][1].tolist()),
            kept=tuple(counts[rule.name, True].tolist()),
            dropped=tuple(counts[rule.name, False].tolist()),
            not_measured=missing[rule.name],
        )
        for rule in rules
    )


def _is_yes_or_no(rule: Rule) -> bool:
    return rule.signal in CARRIER_SIGNALS and rule.per is None


def _axis(rule: Rule, sample: Values) -> tuple[bool, Values]:
    """Return True for a logarithmic axis, and BINS + 1 edges around nearly all of the sample and the bounds."""
    if _is_yes_or_no(rule):
        return False, np.array(YES_OR_NO)
    sample = sample[~np.isnan(sample)]
    bounds = [float(bound) for bound in (rule.at_least, rule.at_most) if bound is not None]
    low, high = np.quantile(sample, [TAIL, 1 - TAIL]).tolist() if len(sample) else (min(bounds), max(bounds))
    # Counts (which no other signal divides) may span powers of ten.
    if rule.per is None and high > WIDE * max(low, 1.0):
        low, high = max(1.0, min(low, *bounds)), max(high, *bounds)
        return True, _snapped(np.geomspace(low, max(high, 2 * low) * 1.05, BINS + 1), bounds)
    # An upper bound far above all values would squeeze them into the first bins, so it is left out.
    near = [bound for bound in bounds if not len(sample) or bound <= 3 * max(high, 1e-9) or bound == min(bounds)]
    high = min(max([high, *near]), FAR * max(bounds)) if max(bounds) > 0 else max([high, *near])
    low = min(low, *bounds) if min(bounds) < 0 else 0.0
    margin = (high - low) * 0.05 or 1.0
    return False, _snapped(np.linspace(low, high + margin, BINS + 1), bounds)


def _snapped(edges: Values, bounds: Sequence[float]) -> Values:
    """Round the edges, and move the nearest edge to each bound, so that every bar is on one side of it."""
    edges = np.array([float(f"{edge:.6g}") for edge in edges.tolist()])
    for bound in bounds:
        nearest = int(np.abs(edges - bound).argmin())
        if 0 < nearest < BINS:
            edges[nearest] = bound
    return edges
