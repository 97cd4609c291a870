"""Choosing rules by name, with a recipe's bounds in place of the published ones."""

import pytest

from corpus.errors import InputError
from corpus.quality.catalog import problems, rule_sets, select
from corpus.sources.base import Bound


def test_rule_sets_are_the_files_of_the_folder() -> None:
    assert list(rule_sets()) == sorted(rule_sets())
    assert {"code", "gopher_quality", "gopher_repetition"} <= set(rule_sets())


def test_sets_and_single_rules_come_in_order_and_once() -> None:
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


def test_all_problems_are_told_at_once() -> None:
    bounds = {
        "gopher_quality.wrods": Bound(at_least=1),
        "gopher_repetition.top_2_gram": Bound(at_most=0.5),
        "code.longest_line": Bound(),
        "gopher_quality.words": Bound(at_least=200_000),
    }
    names = ["gopher_qualty", "gopher_quality.words", "code", "nothing_like_it"]
    found = problems(names, bounds)
    assert found == [
        "`gopher_qualty` is no rule set and no rule; did you mean `gopher_quality`?",
        f"`nothing_like_it` is no rule set and no rule; the rule sets are {', '.join(rule_sets())}",
        "a bound for `gopher_quality.wrods`, which is no rule; did you mean `gopher_quality.words`?",
        "a bound for `gopher_repetition.top_2_gram`, which is not among this source's rules",
        "the bound for `code.longest_line` is empty; give at_least, at_most or both",
        "the bound for `gopher_quality.words` lets nothing pass: 200000..100000",
    ]
    with pytest.raises(InputError) as raised:
        select(names, bounds)
    assert str(raised.value).splitlines() == found
