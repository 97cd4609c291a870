"""All rules: the rule sets are the files in rules/, and nothing else lists them."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Protocol

import corpus.quality.rules
from corpus.errors import InputError
from corpus.quality.rule import Rule
from corpus.settings import nearest


class Bound(Protocol):
    """What a recipe puts in place of a rule's bound; an end that is None stays as published."""

    @property
    def at_least(self) -> float | None: ...

    @property
    def at_most(self) -> float | None: ...


@cache
def rule_sets() -> Mapping[str, tuple[Rule, ...]]:
    """Every rule set by the name of its file, in alphabetical order."""
    found = {}
    for module in sorted(pkgutil.iter_modules(corpus.quality.rules.__path__), key=lambda m: m.name):
        found[module.name] = tuple(importlib.import_module(f"corpus.quality.rules.{module.name}").RULES)
    return MappingProxyType(found)


def select(names: Sequence[str], bounds: Mapping[str, Bound]) -> tuple[Rule, ...]:
    """The rules of the sets, and the single rules, that `names` lists, each once and where it is first named.

    Raises InputError with all `problems`.
    """
    if found := problems(names, bounds):
        raise InputError("\n".join(found))
    return tuple(_bounded(rule, bounds.get(name)) for name, rule in _named(names).items())


def problems(names: Sequence[str], bounds: Mapping[str, Bound]) -> list[str]:
    """What keeps `select` from its answer, a line each."""
    single = [rule.name for rules in rule_sets().values() for rule in rules]
    allowed = [*rule_sets(), *single]
    found = [f"`{name}` is no rule set and no rule{_hint(name, allowed)}" for name in names if name not in allowed]
    selected = _named(names)
    for name, bound in bounds.items():
        if name not in selected:
            hint = "not among this source's rules" if name in single else f"no rule{_hint(name, single)}"
            found.append(f"a bound for `{name}`, which is {hint}")
        elif bound.at_least is None and bound.at_most is None:
            found.append(f"the bound for `{name}` is empty; give at_least, at_most or both")
        else:
            rule = _bounded(selected[name], bound)
            if rule.at_least is not None and rule.at_most is not None and rule.at_least > rule.at_most:
                found.append(f"the bound for `{name}` lets nothing pass: {rule.bound}")
    return found


def _named(names: Sequence[str]) -> dict[str, Rule]:
    known = {rule.name: rule for rules in rule_sets().values() for rule in rules}
    lists = [rule_sets().get(name, (known[name],) if name in known else ()) for name in names]
    return {rule.name: rule for rules in lists for rule in rules}


def _bounded(rule: Rule, bound: Bound | None) -> Rule:
    if bound is None:
        return rule
    at_least = rule.at_least if bound.at_least is None else bound.at_least
    at_most = rule.at_most if bound.at_most is None else bound.at_most
    return rule.bounded(at_least, at_most)


def _hint(name: str, allowed: Sequence[str]) -> str:
    """The nearest name, else the rule sets: not the list of all rules."""
    hint = nearest(name, allowed)
    return hint if "did you mean" in hint else f"; the rule sets are {', '.join(rule_sets())}"
