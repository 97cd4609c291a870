"""Every rule has golden documents, just inside and just outside its bound, with equal verdicts of all other rules."""

import math
from collections.abc import Iterator
from itertools import count, islice, product

import pytest

from corpus.quality.catalog import rule_sets
from corpus.quality.kernels.measure import measure
from corpus.quality.rule import Rule, failing
from corpus.quality.signals import CARRIER_SIGNALS, SIGNALS

RULES = {rule.name: rule for rules in rule_sets().values() for rule in rules}
Pair = tuple[str, str]  # inside, outside
CARRIER_GOLDEN = {  # values just inside and outside, for rules over signals of the carrier
    "latex.missing_inputs": (0, 1),
    "repository.generated": (0, 1),
    "repository.minified": (0, 1),
    "repository.vendored": (0, 1),
    "robots.noai": (0, 1),
    "robots.noindex": (0, 1),
}


def fresh(letters: int = 5) -> Iterator[str]:
    """Different words of this length, none of them a stop word or an exception."""
    sounds = ["bdfgklmnprtz", "aiou"] * 3
    for word in product(*sounds[: min(letters, 5)]):
        yield "".join(word) + "x" * (letters - 5)


def prose(words: int, letters: int = 5, line: int = 10) -> str:
    """Text of this many words, `the` and `of` among them, in lines of `line` words."""
    chosen = ["the", "of", *islice(fresh(letters), words - 2)]
    return "\n".join(" ".join(chosen[start : start + line]) for start in range(0, words, line))


def padded(opening: str, characters: int) -> str:
    """The opening, followed by different words up to exactly this many characters."""
    words = fresh(7)
    while characters - len(opening) > 20:
        opening += f" {next(words)}"
    return f"{opening} {'q' * (characters - len(opening) - 1)}"


def either_side(opening: str, part: int, share: float) -> Pair:
    """The opening in two texts: `part` characters are at most `share` of the first, and just more of the second."""
    characters = math.ceil(part / share - 1e-9)
    return padded(opening, characters), padded(opening, characters - 1)


def golden_words() -> Iterator[Pair]:
    yield prose(50), prose(49)
    yield "\n".join(islice(lines_of_many(), 10_000)), "\n".join([*islice(lines_of_many(), 10_000), "q"])


def lines_of_many() -> Iterator[str]:
    """Lines of ten words, all different: a number in letters."""
    for number in count():
        digits = f"{number:05d}".translate(str.maketrans("0123456789", "bdfgklmnpr"))
        yield ("the of " if number == 0 else f"{digits}y {digits}z ") + " ".join(digits + last for last in "qwsxjhvc")


def golden_mean_word_length() -> Iterator[Pair]:
    short = ["the", "and", *islice(fresh(3), 58)]
    yield " ".join(short), " ".join([*short[:-1], "zo"])
    long = ["the", "of", "q" * 17, "z" * 18, *islice(fresh(10), 56)]
    yield "\n".join(long), "\n".join([*long, "y" * 11])


def among(marks: list[str], words: int) -> str:
    """The marks with at least one word before each."""
    chosen = prose(words).split()
    for place, mark in enumerate(marks):
        chosen.insert(2 * place + 1, mark)
    return " ".join(chosen)


def golden_lines(before: str, after: str, outside: int) -> Iterator[Pair]:
    """100 lines of ten words; on the second side `outside` of them are marked, on the first one fewer."""
    lines = prose(1000).split("\n")
    for marked in ((outside - 1, outside),):
        inside, beyond = ([f"{before}{line}{after}" for line in lines[:n]] + lines[n:] for n in marked)
        yield "\n".join(inside), "\n".join(beyond)


def golden_duplicates(joint: str, within: str) -> Iterator[Pair]:
    """3 of 10 and 4 of 13 pieces are duplicates; the others are long."""
    words = prose(900).split()
    pieces = [
        within.join(" ".join(words[n : n + 15]) for n in range(start, start + 60, 15)) for start in range(0, 720, 60)
    ]
    yield joint.join([*pieces[:6], *["again"] * 4]), joint.join([*pieces[:8], *["again"] * 5])


def golden_duplicate_characters(joint: str, within: str) -> Iterator[Pair]:
    piece = prose(60).replace("\n", within)
    yield either_side(f"{piece}{joint}{piece}{joint}", len(piece), 0.20)


def golden_top(n: int, share: float) -> Iterator[Pair]:
    gram, words = " ".join(["dax", "wug", "blick", "toma"][:n]), fresh(4)
    yield either_side(" ".join(f"{gram} {next(words)}" for _ in range(10)), 10 * len(gram), share)


def golden_again(n: int, share: float) -> Iterator[Pair]:
    """Five runs of n words, each twice."""
    words, parting = fresh(4), fresh(6)
    runs = [" ".join(islice(words, n)) for _ in range(5)]
    yield either_side(" ".join(f"{run} {next(parting)}" for run in [*runs, *runs]), 5 * 4 * n, share)


def golden_code() -> Iterator[tuple[str, Pair]]:
    lines = [padded(line, 100) for line in prose(100, line=5).split("\n")]
    yield "code.mean_line_length", ("\n".join(lines), "\n".join([*lines[:-1], f"{lines[-1]}q"]))
    short = prose(600)
    yield "code.longest_line", (f"{short}\n{padded('q', 1000)}", f"{short}\n{padded('q', 1001)}")
    yield "code.alphanumeric", ("b = " * 500, "b = " * 500 + "=")


def golden() -> Iterator[tuple[str, Pair]]:
    ten, plain = (lambda mark: [mark] * 10), "gopher_quality."
    yield from ((f"{plain}words", pair) for pair in golden_words())
    yield from ((f"{plain}mean_word_length", pair) for pair in golden_mean_word_length())
    yield f"{plain}hashes", (among(ten("#"), 90), among(ten("#"), 89))
    yield f"{plain}ellipses", (among(ten("..."), 90), among(ten("..."), 89))
    yield from ((f"{plain}bullet_lines", pair) for pair in golden_lines("- ", "", 91))
    yield from ((f"{plain}ellipsis_lines", pair) for pair in golden_lines("", "…", 31))
    numbers = [str(number) for number in range(1000, 1020)]
    yield f"{plain}alphabetic_words", (among(numbers, 80), among(numbers, 79))
    yield f"{plain}stop_words", (prose(60), prose(60).replace("of", "if"))
    again = "gopher_repetition."
    yield from ((f"{again}duplicate_paragraphs", pair) for pair in golden_duplicates("\n\n", "\n"))
    yield from ((f"{again}duplicate_paragraph_characters", pair) for pair in golden_duplicate_characters("\n\n", "\n"))
    yield from ((f"{again}duplicate_lines", pair) for pair in golden_duplicates("\n", " "))
    yield from ((f"{again}duplicate_line_characters", pair) for pair in golden_duplicate_characters("\n", " "))
    for n, share in {2: 0.20, 3: 0.18, 4: 0.16}.items():
        yield from ((f"{again}top_{n}_gram", pair) for pair in golden_top(n, share))
    for n, share in {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}.items():
        yield from ((f"{again}duplicate_{n}_grams", pair) for pair in golden_again(n, share))
    yield from golden_code()


GOLDEN: list[tuple[str, Pair | tuple[int, int]]] = [*golden(), *CARRIER_GOLDEN.items()]


def signals_of(name: str, side: str | int) -> dict[str, int | None]:
    """Signals of a text, or of plain prose with this value of the rule's own signal."""
    measured = {**dict.fromkeys(CARRIER_SIGNALS), **measure(side if isinstance(side, str) else prose(50))}
    return measured if isinstance(side, str) else {**measured, RULES[name].signal: side}


@pytest.mark.parametrize(("name", "pair"), GOLDEN, ids=[name for name, _ in GOLDEN])
def test_only_this_rule_separates_its_golden_documents(name: str, pair: Pair | tuple[int, int]) -> None:
    inside, outside = (signals_of(name, side) for side in pair)
    rule = RULES[name]
    assert rule.passes(rule.value(inside)) and not rule.passes(rule.value(outside))
    rejecting = [{each.name for each in failing(list(RULES.values()), signals)} for signals in (inside, outside)]
    assert rejecting[1] - rejecting[0] == {name} and not rejecting[0] - rejecting[1]
    near = [rule.value(inside), rule.value(outside)]
    assert near[0] is not None and near[1] == pytest.approx(near[0], rel=0.04, abs=1 if rule.per is None else 0)


def ends(rule: Rule) -> int:
    return (rule.at_least is not None) + (rule.at_most is not None)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_golden_documents_at_each_end_of_its_bound(name: str) -> None:
    lowest, highest = RULES[name].at_least, RULES[name].at_most
    outside = [RULES[name].value(signals_of(name, pair[1])) for golden_name, pair in GOLDEN if golden_name == name]
    below = [value for value in outside if value is not None and lowest is not None and value < lowest]
    above = [value for value in outside if value is not None and highest is not None and value > highest]
    assert bool(below) + bool(above) == ends(RULES[name]), f"{name}: add a pair of texts to golden()"


@pytest.mark.parametrize("name", RULES)
def test_every_rule_names_its_set_its_signals_and_its_source(name: str) -> None:
    rule = RULES[name]
    assert rule in rule_sets()[name.partition(".")[0]]
    assert rule.signal in (*SIGNALS, *CARRIER_SIGNALS) and (rule.per is None or rule.per in SIGNALS)
    assert rule.source and ends(rule)


def test_empty_text_fails_only_rules_that_are_not_ratios() -> None:
    rejecting = {rule.name for rule in failing(list(RULES.values()), signals_of("", ""))}
    assert rejecting == {"gopher_quality.words", "gopher_quality.stop_words"}
