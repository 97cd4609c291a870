"""Gopher's repetition rules: bounds on the repeated parts of a text."""

from corpus.quality.rule import Rule

_TABLE = "Rae et al. 2021, table A1"
_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def _rule(name: str, signal: str, per: str, at_most: float) -> Rule:
    return Rule(f"gopher_repetition.{name}", signal, per=per, at_most=at_most, source=_TABLE)


RULES = (
    _rule("duplicate_paragraphs", "duplicate_paragraphs", "paragraphs", 0.30),
    _rule("duplicate_paragraph_characters", "duplicate_paragraph_characters", "characters", 0.20),
    _rule("duplicate_lines", "duplicate_lines", "filled_lines", 0.30),
    _rule("duplicate_line_characters", "duplicate_line_characters", "characters", 0.20),
    *(_rule(f"top_{n}_gram", f"top_{n}_gram_characters", "characters", most) for n, most in _TOP.items()),
    *(
        _rule(f"duplicate_{n}_grams", f"duplicate_{n}_gram_characters", "characters", most)
        for n, most in _DUPLICATE.items()
    ),
)
