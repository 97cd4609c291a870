"""Signals from their definitions, without regard to speed: the reference for the compiled kernels.

Words follow spaCy's algorithm with regular expressions, as in spaCy itself.
"""

import re as standard
from collections import Counter
from itertools import pairwise

import regex as re

from corpus.quality.kernels.character_flags import _PUNCTUATION, _QUOTES, CURRENCY, SYMBOL, character_flags
from corpus.quality.kernels.exceptions import CODES, SPLITS, STARTS, UNIT
from corpus.quality.signals import SIGNALS

_NEXT = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
MOJIBAKE = standard.compile(f"[Â-ß]{_NEXT}|[à-ï]{_NEXT}{{2}}|[ð-ô]{_NEXT}{{3}}")
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def _exceptions() -> tuple[dict[str, list[str]], list[str]]:
    cut, units = {}, []
    for number, (first, second) in enumerate(SPLITS.tolist()):
        text = "".join(map(chr, CODES[STARTS[number] : STARTS[number + 1]]))
        if first == UNIT:
            units.append(text)
        else:
            ends = [0, *(end for end in (first, second) if end), len(text)]
            cut[text] = [text[a:b] for a, b in pairwise(ends)]
    return cut, units


CUT, UNITS = _exceptions()
ALPHA, LOWER, UPPER, ICON = r"\p{L}", r"\p{Ll}\p{Lo}\p{Lm}", r"\p{Lu}\p{Lt}\p{Lo}\p{Lm}", r"\p{So}"
PUNCTUATION, QUOTES, MONEY = re.escape(_PUNCTUATION), re.escape(_QUOTES), re.escape(CURRENCY)
PREFIX = re.compile(rf"[§%=—–{PUNCTUATION}{QUOTES}{MONEY}{ICON}]|\.\.+|\+(?![0-9])|US\$|[CA]\$")
SUFFIX = re.compile(
    rf"(?:[{PUNCTUATION}{QUOTES}{ICON}—–]|……|\.\.+|['’][sS]|(?<=[0-9])(?:\+|US\$|[CA]\$|[{MONEY}]|"
    + "|".join(map(re.escape, UNITS))
    + rf")|(?<=°[FfCcKk])\.|(?<=[0-9{LOWER}{PUNCTUATION}{QUOTES}%²|+-])\.|(?<=[{UPPER}][{UPPER}])\.)\Z"
)
INFIX = re.compile(
    rf"\.\.+|…|[{ICON}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{LOWER}{QUOTES}])\.(?=[{UPPER}{QUOTES}])"
    rf"|(?<=[{ALPHA}]),(?=[{ALPHA}])|(?<=[{ALPHA}0-9])(?:-|–|—|--|---|——|~)(?=[{ALPHA}])"
    rf"|(?<=[{ALPHA}0-9])[:<>=/](?=[{ALPHA}])"
)
HOST = r"A-Za-z0-9\u00a1-\uffff"
NAME = (
    rf"(?:(?:[{HOST}][{HOST}_-]{{0,62}})?[{HOST}]\.)+(?:(?![\U00010000-\U0010ffff])[{LOWER}]){{2,63}}(?::[0-9]{{2,5}})?"
)
ADDRESS = re.compile(rf"(?:[\p{{L}}\p{{N}}_+.-]{{2,}}://)?{NAME}(?:[/?#].*)?|.+@{NAME}(?:[/?#][^@]*)?", re.DOTALL)


def words(text: str) -> list[str]:
    return [word for run in text.split() for word in _run(run)]


def _run(run: str) -> list[str]:
    before: list[str] = []
    after: list[str] = []
    while run and run not in CUT:
        match = PREFIX.match(run)
        prefix = match[0] if match else ""
        rest = run[len(prefix) :]
        if prefix and rest in CUT:
            before, run = [*before, prefix], rest
            break
        match = SUFFIX.search(rest)
        suffix = match[0] if match else ""
        if suffix:
            after, run = [suffix, *after], run[: -len(suffix)]
            if run in CUT:
                break
        if prefix:
            before, run = [*before, prefix], run[len(prefix) :]
        if not prefix and not suffix:
            break
    return [*before, *(_inside(run) if run else []), *after]


def _inside(run: str) -> list[str]:
    if run in CUT or ADDRESS.fullmatch(run):
        return CUT.get(run, [run])
    found: list[str] = []
    start = 0
    for match in INFIX.finditer(run):
        if match.start() == 0:
            continue
        found += CUT.get(run[start : match.start()], [run[start : match.start()]])
        found.append(match[0])
        start = match.end()
    found += CUT.get(run[start:], [run[start:]])
    return [word for word in found if word]


def measure(text: str) -> dict[str, int]:
    if not text:
        return dict.fromkeys(SIGNALS, 0)
    lines, filled = text.splitlines(), standard.split(r"\n+", text)
    paragraphs = standard.split(r"\n{2,}", text.strip())
    cut = words(text)
    symbols = character_flags() & SYMBOL
    plain = [word for word in cut if not all(symbols[ord(character)] for character in word)]
    counts = [len(text), len(lines), sum(map(len, lines)), max(map(len, lines))]
    counts += [sum(line.lstrip().startswith(("•", "-")) for line in lines)]
    counts += [sum(line.rstrip().endswith(("...", "…")) for line in lines)]
    counts += [text.count("#"), text.count("...") + text.count("…"), sum(map(str.isalnum, text))]
    for pieces in (filled, paragraphs):
        again = [piece for place, piece in enumerate(pieces) if piece in pieces[:place]]
        counts += [len(pieces), len(again), sum(map(len, again))]
    counts += [len(cut), len(plain), sum(map(len, plain))]
    counts += [sum(any(map(str.isalpha, word)) for word in cut), len(STOP_WORDS & set(cut))]
    counts += [text.count("\ufffd"), len(MOJIBAKE.findall(text))]
    counts += [_top(cut, n) for n in (2, 3, 4)] + [_duplicate(cut, n) for n in range(5, 11)]
    return dict(zip(SIGNALS, counts, strict=True))


def _top(cut: list[str], n: int) -> int:
    grams = Counter(tuple(cut[here : here + n]) for here in range(len(cut) - n + 1))
    return max((len(" ".join(gram)) * count for gram, count in grams.most_common(1)), default=0)


def _duplicate(cut: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    characters = here = 0
    while here + n <= len(cut):
        gram = tuple(cut[here : here + n])
        if gram in seen:
            characters += sum(map(len, gram))
        here += n if gram in seen else 1
        seen.add(gram)
    return characters
