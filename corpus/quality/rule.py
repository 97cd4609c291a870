"""A rule is a named bound on a signal; a verdict is what the rules say of one document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Rule:
    """`at_least <= value <= at_most`, where the value is a signal, or the ratio of two integer counts.

    A ratio over nothing is null, and a bound says nothing of null: such a document passes this rule.
    """

    name: str  # "gopher_quality.mean_word_length": the rule set, then the rule
    signal: str
    per: str | None = None  # the count that `signal` is divided by
    at_least: float | None = None
    at_most: float | None = None
    source: str = ""  # paper and section, or code, that states the bound

    def value(self, signals: Mapping[str, float | None]) -> float | None:
        """The measured value, or None where there is none."""
        count = signals[self.signal]
        if self.per is None or count is None:
            return count
        whole = signals[self.per]
        return count / whole if whole else None

    def passes(self, value: float | None) -> bool:
        """Whether `value` lies within the bound, both ends included."""
        if value is None:
            return True
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def bounded(self, at_least: float | None, at_most: float | None) -> "Rule":
        """The same rule with other bounds."""
        return replace(self, at_least=at_least, at_most=at_most)

    @property
    def bound(self) -> str:
        """`3..10`, `>= 2` or `<= 0.1`."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g}..{self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


def failing(rules: Sequence[Rule], signals: Mapping[str, float | None]) -> list[Rule]:
    """The rules that say no, in the order given."""
    return [rule for rule in rules if not rule.passes(rule.value(signals))]
