"""Rules: named bounds on a signal or on a ratio of two signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from corpus.settings import Strict


class Bound(Strict):
    """Bound that a recipe sets in place of a rule's own; an end that is None stays as published."""

    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """`at_least <= value <= at_most`, where the value is a signal, or the ratio of two signals.

    A ratio with denominator 0 is null, and so is a signal that the source does not provide; null passes every bound.
    """

    name: str  # "gopher_quality.mean_word_length": the rule set, then the rule
    signal: str
    per: str | None = None  # the count that `signal` is divided by
    at_least: float | None = None
    at_most: float | None = None
    source: str = ""  # paper and section, or code, that states the bound

    def value(self, signals: Mapping[str, float | None]) -> float | None:
        """Return the measured value, or None if it is null."""
        count = signals[self.signal]
        if self.per is None or count is None:
            return count
        denominator = signals[self.per]
        return count / denominator if denominator else None

    def passes(self, value: float | None) -> bool:
        """True if `value` is within the bound, both ends included, or null."""
        if value is None:
            return True
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def bounded(self, bound: Bound) -> "Rule":
        """Return the same rule with the ends that `bound` gives."""
        at_least = self.at_least if bound.at_least is None else bound.at_least
        return replace(self, at_least=at_least, at_most=self.at_most if bound.at_most is None else bound.at_most)

    @property
    def bound(self) -> str:
        """`3..10`, `>= 2` or `<= 0.1`."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g}..{self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


def failing(rules: Sequence[Rule], signals: Mapping[str, float | None]) -> list[Rule]:
    """Return the rules that the signals fail, in the order given."""
    return [rule for rule in rules if not rule.passes(rule.value(signals))]
