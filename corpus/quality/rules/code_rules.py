"""Basic rules for source code, against minified and generated files and against data written as code."""

from corpus.quality.rule import Rule

_CODEX = "Chen et al. 2021 (Codex), section 3.1"
_BIGCODE = "Ben Allal et al. 2023 (SantaCoder); bigcode-dataset, preprocessing, basic filter"

RULES = (
    Rule("code.mean_line_length", "line_characters", per="lines", at_most=100, source=_CODEX),
    Rule("code.longest_line", "longest_line_characters", at_most=1000, source=_CODEX),
    Rule("code.alphanumeric", "alphanumeric_characters", per="characters", at_least=0.25, source=_BIGCODE),
)
