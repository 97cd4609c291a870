"""Gopher's quality rules: bounds that separate prose from other text."""

from corpus.quality.rule import Rule

_PAPER = "Rae et al. 2021, section A1.1"
_FRACTION = "Rae et al. 2021, section A1.1; the denominator as in datatrove 0.10, GopherQualityFilter"

RULES = (
    Rule("gopher_quality.words", "non_symbol_words", at_least=50, at_most=100_000, source=_PAPER),
    Rule(
        "gopher_quality.mean_word_length",
        "non_symbol_word_characters",
        per="non_symbol_words",
        at_least=3,
        at_most=10,
        source=_PAPER,
    ),
    Rule("gopher_quality.hashes", "hashes", per="words", at_most=0.1, source=_FRACTION),
    Rule("gopher_quality.ellipses", "ellipses", per="words", at_most=0.1, source=_FRACTION),
    Rule("gopher_quality.bullet_lines", "bullet_lines", per="lines", at_most=0.9, source=_PAPER),
    Rule("gopher_quality.ellipsis_lines", "ellipsis_lines", per="lines", at_most=0.3, source=_PAPER),
    Rule("gopher_quality.alphabetic_words", "alphabetic_words", per="words", at_least=0.8, source=_PAPER),
    Rule("gopher_quality.stop_words", "stop_words", at_least=2, source=_PAPER),
)
