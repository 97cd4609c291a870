"""Rules over stored signals, a shard at a time: histograms of what the recipe measured, and what other rules say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.inspect.report.summary_types import Histogram, RuleSetCount
from corpus.quality.rule import Rule
from corpus.quality.signals import CARRIER_SIGNALS

BINS = 40
YES_OR_NO = (-0.5, 0.5, 1.5)  # edges, where a signal is 0 or 1
SAMPLE_A_SHARD = 5000  # values that a histogram's range is chosen by
TAIL = 0.005  # of the documents at either end that may fall into the outer bins
FAR = 5  # a linear axis ends at this many times the upper bound, however far the tail reaches
WIDE = 50  # counts that span more than this factor are drawn on a logarithmic axis

Values = NDArray[np.float64]  # one a document, NaN where nothing was measured


@dataclass(frozen=True)
class Measured:
    """The shards of clean that hold a source's documents, in order."""

    kept: Sequence[Path]
    dropped: Sequence[Path]

    def shards(self) -> Iterator[tuple[Path, bool]]:
        """Every shard, and whether its documents were kept."""
        for path in self.kept:
            yield path, True
        for path in self.dropped:
            yield path, False


def values_of(path: Path, rules: Sequence[Rule]) -> dict[str, Values]:
    """For each rule by name the values that it bounds; a rule over a signal that this shard lacks is left out."""
    stored = set(pq.read_schema(path).names)
    known = [rule for rule in rules if {rule.signal, rule.per or rule.signal} <= stored]
    wanted = sorted({name for rule in known for name in (rule.signal, rule.per) if name})
    if not wanted:
        return {}
    table = pq.read_table(path, columns=wanted)
    columns = {name: table[name].to_numpy().astype(np.float64) for name in wanted}  # null becomes NaN
    found = {}
    for rule in known:
        if rule.per is None:
            found[rule.name] = columns[rule.signal]
        else:
            whole = columns[rule.per]
            with np.errstate(divide="ignore", invalid="ignore"):
                found[rule.name] = np.where(whole == 0, np.nan, columns[rule.signal] / whole)
    return found


def says_no(rule: Rule, values: Values) -> NDArray[np.bool_]:
    """Rule.passes for a column: NaN passes."""
    below = values < (-np.inf if rule.at_least is None else rule.at_least)
    return below | (values > (np.inf if rule.at_most is None else rule.at_most))


def rule_set_counts(
    measured: Measured, rule_sets: Mapping[str, Sequence[Rule]], in_use: Sequence[Rule]
) -> tuple[RuleSetCount, ...]:
    """What each rule set would have dropped of all documents of which it could say anything, kept and dropped alike."""
    everything = list({rule.name: rule for rules in rule_sets.values() for rule in rules}.values())
    used = {rule.name for rule in in_use}
    documents, would_drop = (dict.fromkeys(sorted(rule_sets), 0) for _ in range(2))
    for path, _ in measured.shards():
        rows = pq.read_metadata(path).num_rows
        values = values_of(path, everything)
        for name in would_drop:
            failing, known = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
            for rule in rule_sets[name]:
                if rule.name in values:
                    failing |= says_no(rule, values[rule.name])
                    known |= ~np.isnan(values[rule.name])
            would_drop[name] += int(failing.sum())
            documents[name] += int(known.sum())
    return tuple(
        RuleSetCount(
            name=name,
            rules=len(rule_sets[name]),
            rules_in_use=sum(rule.name in used for rule in rule_sets[name]),
            documents=documents[name],
            would_drop=count,
        )
        for name, count in would_drop.items()
    )


def histograms(measured: Measured, rules: Sequence[Rule]) -> tuple[Histogram, ...]:
    """One for each rule. The shards are read twice, first to choose the range: memory is that of one shard."""
    samples: dict[str, list[Values]] = {rule.name: [] for rule in rules}
    for path, _ in measured.shards():
        for name, values in values_of(path, rules).items():
            samples[name].append(values[:: max(1, -(-len(values) // SAMPLE_A_SHARD))])
    drawn = {rule.name: _edges(rule, np.concatenate([np.empty(0), *samples[rule.name]])) for rule in rules}
    bins = {name: len(edges) - 1 for name, (_, edges) in drawn.items()}
    counts = {(rule.name, kept): np.zeros(bins[rule.name], np.int64) for rule in rules for kept in (True, False)}
    missing = dict.fromkeys(drawn, 0)
    for path, kept in measured.shards():
        for name, values in values_of(path, rules).items():
            real = values[~np.isnan(values)]
            missing[name] += len(values) - len(real)
            inner = drawn[name][1][1:-1]  # what lies beyond the outer edges falls into the outer bins
            counts[name, kept] += np.bincount(np.searchsorted(inner, real, side="right"), minlength=bins[name])
    return tuple(
        Histogram(
            rule=rule.name,
            at_least=None if rule.at_least is None else float(rule.at_least),
            at_most=None if rule.at_most is None else float(rule.at_most),
            logarithmic=drawn[rule.name][0],
            yes_or_no=_yes_or_no(rule),
            edges=tuple(drawn[rule.name][1].tolist()),
            kept=tuple(counts[rule.name, True].tolist()),
            dropped=tuple(counts[rule.name, False].tolist()),
            not_measured=missing[rule.name],
        )
        for rule in rules
    )


def _yes_or_no(rule: Rule) -> bool:
    return rule.signal in CARRIER_SIGNALS and rule.per is None


def _edges(rule: Rule, sample: Values) -> tuple[bool, Values]:
    """Whether the axis is logarithmic, and BINS + 1 edges that show nearly all of the sample, and the bounds."""
    if _yes_or_no(rule):
        return False, np.array(YES_OR_NO)
    sample = sample[~np.isnan(sample)]
    bounds = [float(bound) for bound in (rule.at_least, rule.at_most) if bound is not None]
    low, high = np.quantile(sample, [TAIL, 1 - TAIL]).tolist() if len(sample) else (min(bounds), max(bounds))
    if rule.per is None and high > WIDE * max(low, 1.0):
        low, high = max(1.0, min(low, *bounds)), max(high, *bounds)
        return True, _snapped(np.geomspace(low, max(high, 2 * low) * 1.05, BINS + 1), bounds)
    near = [bound for bound in bounds if not len(sample) or bound <= 3 * max(high, 1e-9) or bound == min(bounds)]
    high = min(max([high, *near]), FAR * max(bounds)) if max(bounds) > 0 else max([high, *near])
    low = min(low, *bounds) if min(bounds) < 0 else 0.0
    margin = (high - low) * 0.05 or 1.0
    return False, _snapped(np.linspace(low, high + margin, BINS + 1), bounds)


def _snapped(edges: Values, bounds: Sequence[float]) -> Values:
    """Short numbers, and the edge next to a bound moved to it: no bar stands astride."""
    edges = np.array([float(f"{edge:.6g}") for edge in edges.tolist()])
    for bound in bounds:
        nearest = int(np.abs(edges - bound).argmin())
        if 0 < nearest < BINS:
            edges[nearest] = bound
    return edges
