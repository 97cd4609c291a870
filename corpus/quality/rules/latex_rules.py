"""Rule for LaTeX submissions: drop papers with missing parts."""

from corpus.quality.rule import Rule

RULES = (
    Rule(
        "latex.missing_inputs",
        "missing_inputs",
        at_most=0,
        source="ours: a submission contains all files that it inputs, except those that TeX provides",
    ),
)
