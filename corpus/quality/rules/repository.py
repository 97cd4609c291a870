"""What of a repository nobody wrote there: what a program made, what was squeezed, what was brought along."""

from corpus.quality.rule import Rule

_LINGUIST = "GitHub Linguist, lib/linguist/generated.rb and vendor.yml: what is left out of a repository's own code"

RULES = (
    Rule("repository.generated", "generated", at_most=0, source=_LINGUIST),
    Rule("repository.minified", "minified", at_most=0, source=_LINGUIST),
    Rule("repository.vendored", "vendored", at_most=0, source=_LINGUIST),
)
