"""Selection of rules by name, with a recipe's bounds in place of the published ones."""

import subprocess
import sys

import pytest

from corpus.errors import InputError
from corpus.quality.catalog import problems, rule_sets, select
from corpus.quality.rule import Bound


def test_rule_sets_are_named_after_their_files() -> None:
    assert list(rule_sets()) == sorted(rule_sets())
    assert {"code", "gopher_quality", "gopher_repetition"} <= set(rule_sets())


def test_sets_and_single_rules_are_selected_in_order_and_once() -> None:
    chosen = select(["code.longest_line", "gopher_quality", "code", "gopher_quality.words"], {})
    assert [rule.name for rule in chosen[:2]] == ["code.longest_line", "gopher_quality.words"]
    assert [rule.name for rule in chosen[-2:]] == ["code.mean_line_length", "code.alphanumeric"]
    assert len(chosen) == len(rule_sets()["code"]) + len(rule_sets()["gopher_quality"])
    assert select([], {}) == ()


def test_a_bound_replaces_only_the_end_it_gives() -> None:
    (words,) = select(["gopher_quality.words"], {"gopher_quality.words": Bound(at_most=500)})
    assert (words.at_least, words.at_most) == (50, 500)
    (words,) = select(["gopher_quality.words"], {"gopher_quality.words": Bound(at_least=0)})
    assert (words.at_least, words.at_most) == (0, 100_000)


def test_all_mistakes_are_reported_at_once() -> None:
    bounds = {
        "gopher_quality.wrods": Bound(at_least=1),
        "gopher_repetition.top_2_gram": Bound(at_most=0.5),
        "code.longest_line": Bound(),
        "gopher_quality.words": Bound(at_least=200_000),
    }
    names = ["gopher_qualty", "gopher_quality.words", "code", "nothing_like_it"]
    found = problems(names, bounds)
    assert found == [
        "`gopher_qualty` is not a rule or rule set; did you mean `gopher_quality`?",
        f"`nothing_like_it` is not a rule or rule set; the rule sets are {', '.join(rule_sets())}",
        "`bounds` names `gopher_quality.wrods`, which is not a rule; did you mean `gopher_quality.words`?",
        "`bounds` names `gopher_repetition.top_2_gram`, which is not among this source's rules",
        "the bound for `code.longest_line` is empty; give at_least, at_most or both",
        "no value can pass the bound for `gopher_quality.words`: 200000..100000",
    ]
    with pytest.raises(InputError) as raised:
        select(names, bounds)
    assert str(raised.value).splitlines() == found


def test_a_rule_set_adds_its_signals_after_the_existing_ones() -> None:
    code = """
import sys, types
import corpus.quality.rules, corpus.quality.catalog as catalog
loud = types.ModuleType("loud_rules")
loud.RULES, loud.SIGNALS, loud.CARRIER_SIGNALS = (), ("exclamation_marks",), ("shouting",)
modules = catalog._modules()
catalog._modules = lambda: {**modules, "loud": loud}
from corpus.quality import signals
print(signals.SIGNALS[30:], signals.CARRIER_SIGNALS[6:])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('duplicate_10_gram_characters', 'exclamation_marks') ('missing_inputs', 'shouting')"
