"""Rules against files of a repository that nobody wrote there: generated, minified or third-party code."""

from corpus.quality.rule import Rule

_LINGUIST = "GitHub Linguist, lib/linguist/generated.rb and vendor.yml: files excluded from a repository's own code"

RULES = (
    Rule("repository.generated", "generated", at_most=0, source=_LINGUIST),
    Rule("repository.minified", "minified", at_most=0, source=_LINGUIST),
    Rule("repository.vendored", "vendored", at_most=0, source=_LINGUIST),
)
