"""Catalog of the rules: each file in rules/ is a rule set, and no other file lists them."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Literal

import corpus.quality.rules
from corpus.errors import InputError
from corpus.quality.rule import Bound, Rule
from corpus.settings import nearest


@cache
def rule_sets() -> Mapping[str, tuple[Rule, ...]]:
    """Return the rules by the name of their set: `code` is in rules/code_rules.py. Sets are in alphabetical order."""
    return MappingProxyType({name: tuple(module.RULES) for name, module in _modules().items()})


def declared_signals(kind: Literal["SIGNALS", "CARRIER_SIGNALS"]) -> list[str]:
    """Return the signals that rule sets add by a module-level tuple of this name, in order of the sets."""
    return [name for module in _modules().values() for name in getattr(module, kind, ())]


@cache
def _modules() -> Mapping[str, ModuleType]:
    files = sorted(file.name for file in pkgutil.iter_modules(corpus.quality.rules.__path__))
    return {name.removesuffix("_rules"): importlib.import_module(f"corpus.quality.rules.{name}") for name in files}


def select(names: Sequence[str], bounds: Mapping[str, Bound]) -> tuple[Rule, ...]:
    """Return the rules that `names` lists, singly or by set, each once and where it is first named.

    Raises InputError with all `problems`.
    """
    if mistakes := problems(names, bounds):
        raise InputError("\n".join(mistakes))
    return tuple(rule.bounded(bounds.get(name, Bound())) for name, rule in _named(names).items())


def problems(names: Sequence[str], bounds: Mapping[str, Bound]) -> list[str]:
    """Return the mistakes for which `select` raises, one per line."""
    single = [rule.name for rules in rule_sets().values() for rule in rules]
    allowed = [*rule_sets(), *single]
    mistakes = [f"`{name}` is not a rule or rule set{_hint(name, allowed)}" for name in names if name not in allowed]
    selected = _named(names)
    for name, bound in bounds.items():
        if name not in selected:
            hint = "not among this source's rules" if name in single else f"not a rule{_hint(name, single)}"
            mistakes.append(f"`bounds` names `{name}`, which is {hint}")
        elif bound.at_least is None and bound.at_most is None:
            mistakes.append(f"the bound for `{name}` is empty; give at_least, at_most or both")
        else:
            rule = selected[name].bounded(bound)
            if rule.at_least is not None and rule.at_most is not None and rule.at_least > rule.at_most:
                mistakes.append(f"no value can pass the bound for `{name}`: {rule.bound}")
    return mistakes


def _named(names: Sequence[str]) -> dict[str, Rule]:
    known = {rule.name: rule for rules in rule_sets().values() for rule in rules}
    lists = [rule_sets().get(name, (known[name],) if name in known else ()) for name in names]
    return {rule.name: rule for rules in lists for rule in rules}


def _hint(name: str, allowed: Sequence[str]) -> str:
    """Suggest the nearest name, else list the rule sets; the list of all rules would be too long."""
    hint = nearest(name, allowed)
    return hint if "did you mean" in hint else f"; the rule sets are {', '.join(rule_sets())}"
