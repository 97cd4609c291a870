"""Traits of HTML elements that decide how a parser nests them. An element without any is simply stacked.

Source: https://html.spec.whatwg.org/multipage/parsing.html, section 13.2.6
"""

import numpy as np

from corpus.compiled import jit_no_alloc
from corpus.extract.html_tags import Code, name_code

# Traits, as bits.
(
    UNSTACKED,
    RAW,
    FORMATTING,
    LINK,
    BLOCK,
    BARRIER,
    OPTION,
    SELECT,
    SVG,
    MATH,
    HTML_IN_SVG,
    HTML_IN_MATH,
    ANNOTATION,
    BREAKOUT,
    END_BREAKOUT,
    TABLE,
    TABLE_PART,
    CELL,
    IGNORABLE,
    ROOT,
    FONT,
    SCRIPT,
) = (1 << bit for bit in range(22))

_NAMES_BY_TRAIT = (
    # void elements, and those that the next of their kind closes, so that they cannot nest on their own
    (
        "area base br col embed hr img input link meta param source track wbr p li dd dt option tr td th tbody thead "
        "tfoot colgroup html head body",
        UNSTACKED,
    ),
    ("script style textarea title xmp iframe noembed noframes", RAW),
    ("a b big code em font i nobr s small strike strong tt u", FORMATTING),
    (
        "address article aside blockquote button center details dialog dir div dl fieldset figcaption figure footer "
        "form frameset h1 h2 h3 h4 h5 h6 header hgroup main menu nav noscript ol pre section select summary ul",
        BLOCK,
    ),
    ("applet caption table marquee object template foreignobject desc svg math", BARRIER),
    ("option optgroup", OPTION),
    # in SVG and MathML: elements that hold HTML again, and tags that end it
    ("foreignobject desc title", HTML_IN_SVG),
    ("mi mo mn ms mtext", HTML_IN_MATH),
    (
        "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu "
        "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var",
        BREAKOUT,
    ),
    ("br p", END_BREAKOUT),
    # text in a part of a table, but in no cell, is moved in front of the table
    ("table tbody thead tfoot tr", TABLE_PART),
    ("td th caption", CELL),
    # start tags that may be ignored, so that the text before and after them is one
    ("html head body frameset frame form image caption col colgroup tbody td tfoot th thead tr", IGNORABLE),
    ("html body", ROOT),  # their attributes add up on one element
    ("a", LINK),
    ("select", SELECT),
    ("svg", SVG),
    ("math", MATH),
    ("table", TABLE),
    ("font", FONT),
    ("script", SCRIPT),
    ("annotation-xml", ANNOTATION),
)


def _traits_by_code() -> dict[int, int]:
    traits: dict[int, int] = {}
    for names, trait in _NAMES_BY_TRAIT:
        for name in names.split():
            code = name_code(name)
            traits[code] = traits.get(code, 0) | trait
    return dict(sorted(traits.items()))


_CODES = np.array(list(_traits_by_code()), np.uint64)
_TRAITS = np.array(list(_traits_by_code().values()), np.int64)


@jit_no_alloc
def traits_of(name: Code) -> int:
    """Return the traits of the element with a name."""
    index = np.searchsorted(_CODES, name)
    return _TRAITS[index] if index < _CODES.size and _CODES[index] == name else 0
