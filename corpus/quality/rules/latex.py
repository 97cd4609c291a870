"""A rule for LaTeX submissions: a paper of which parts are missing is no whole document."""

from corpus.quality.rule import Rule

RULES = (
    Rule(
        "latex.missing_inputs",
        "missing_inputs",
        at_most=0,
        source="ours: a submission holds all that it inputs, but for what TeX itself provides",
    ),
)
