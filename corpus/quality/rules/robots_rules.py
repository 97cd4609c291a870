"""Rules for pages that opt out in X-Robots-Tag or in robots meta tags."""

from corpus.quality.rule import Rule

_NOAI = "DeviantArt, November 2022, as honored by img2dataset and others: noai, noimageai"
_NOINDEX = "Google Search Central, Robots meta tag and X-Robots-Tag specifications: noindex, none"

RULES = (
    Rule("robots.noai", "robots_noai", at_most=0, source=_NOAI),
    Rule("robots.noindex", "robots_noindex", at_most=0, source=_NOINDEX),
)
