"""Check that a page can be parsed: an upper estimate of the time and memory that Resiliparse takes for it.

A page is cheap unless something in it adds up: the depth of elements over all tags, the attributes of an element, the
options of a list, the names that occur, the text that is moved in front of a table piece by piece, or the formatting
elements that are opened again in each block. One compiled pass counts these, with a stack of open elements that is kept
nearly as the HTML standard does. It may overestimate.
Source: https://html.spec.whatwg.org/multipage/parsing.html, sections 13.2.5 and 13.2.6. The weights are measured.
"""

import numpy as np
import numpy.typing as npt

from corpus.compiled import cached_jit, jit_no_alloc
from corpus.extract.html_elements import (
    ANNOTATION,
    BARRIER,
    BLOCK,
    BREAKOUT,
    CELL,
    END_BREAKOUT,
    FONT,
    FORMATTING,
    HTML_IN_MATH,
    HTML_IN_SVG,
    IGNORABLE,
    LINK,
    MATH,
    OPTION,
    RAW,
    ROOT,
    SCRIPT,
    SELECT,
    SVG,
    TABLE,
    TABLE_PART,
    UNSTACKED,
    traits_of,
)
from corpus.extract.html_tags import (
    BANG,
    LESS,
    NAME_SLOTS,
    QUESTION,
    SLASH,
    Bytes,
    Code,
    after_markup,
    after_raw,
    byte_at,
    is_new,
    is_space,
    lower,
    read_attributes,
    read_name,
)

MAX_DEPTH = 256  # Source: libxml2, xmlParserMaxDepth
MAX_ATTRIBUTES = 256  # of one tag
MAX_TAGS = 1_000_000
MAX_NS = 5_000_000_000  # estimated time
MAX_BYTES = 500_000_000  # estimated memory

# Nanoseconds, and bytes of memory.
DEPTH_NS = 150  # for each tag and level
PAIR_NS = 10  # for each pair of attributes of an element, or of options of a list
NAME_NS = 3  # for each tag or attribute and name in the page
ELEMENT_BYTES, ATTRIBUTE_BYTES, TEXT_BYTES, COMMENT_BYTES = 300, 280, 260, 160
MOVED_BYTES_PER_BYTE = 3  # bytes of text that are moved for each byte of memory that it takes

# Columns of the stack of open elements, and of the formatting elements that wait to be opened again.
_NAME, _ATTRIBUTES, _INSIDE, _WAS_IN_TABLE, _COLUMNS = range(5)
_HTML, _IN_SVG, _IN_MATH, _UNSURE = range(4)  # values of _INSIDE: the rules by which the content of an element is read
# What is counted over the page, and the state of the table that is open.
(
    _NS, _MEMORY, _TAGS, _NAMES, _OPTIONS, _ROOT_ATTRIBUTES, _PENDING, _REOPENS, _RUN, _TABLE_RUN, _IN_TABLE, _TABLES,
    _SELECTS, _COUNTS,
) = range(14)  # fmt: skip

Elements = npt.NDArray[np.uint64]  # [element, column]
Counts = npt.NDArray[np.int64]


def too_complex(page: bytes) -> bool:
    """Return True if a page in UTF-8 exceeds any of the bounds above."""
    return bool(_exceeds_bounds(np.frombuffer(page, np.uint8)))


@cached_jit
def _exceeds_bounds(page: Bytes) -> bool:
    stack, pending = np.zeros((MAX_DEPTH, _COLUMNS), np.uint64), np.zeros((MAX_DEPTH, _COLUMNS), np.uint64)
    counts, names = np.zeros(_COUNTS, np.int64), np.zeros(NAME_SLOTS, np.bool_)
    depth = at = text_from = 0
    while at + 1 < page.size:
        # Find the next tag, past text, comments and declarations.
        if page[at] != LESS:
            at += 1
            continue
        following = page[at + 1]
        begin = at + 2 if following == SLASH else at + 1
        inside = stack[depth - 1, _INSIDE] if depth else np.uint64(_HTML)
        if not 97 <= lower(byte_at(page, begin)) <= 122:
            if following not in (SLASH, BANG, QUESTION) or begin >= page.size:
                at += 1
                continue
            _count_text(page, text_from, at, depth, counts)
            counts[_MEMORY] += COMMENT_BYTES
            at = text_from = after_markup(page, at, inside in (_IN_SVG, _IN_MATH))
            if _exceeded(counts):
                return True
            continue

        # Count it.
        _count_text(page, text_from, at, depth, counts)
        name, at = read_name(page, begin)
        attributes, new, at, fingerprint, closed = read_attributes(page, at, names)
        counts[_NAMES] += new + is_new(name, names)
        traits = traits_of(name)
        _count_tag(traits, attributes, depth, following != SLASH, counts)
        if attributes > MAX_ATTRIBUTES or _exceeded(counts):
            return True

        # Follow the parser's stack of open elements.
        if following == SLASH:
            depth = _close(stack, depth, pending, name, traits, counts)
        elif traits & RAW and inside == _HTML and (not counts[_SELECTS] or traits & SCRIPT):
            counts[_RUN] = 0
            at = after_raw(page, at, name, traits & SCRIPT > 0)
        else:
            depth = _open(stack, depth, name, fingerprint, traits, closed, attributes, counts)
            if depth > MAX_DEPTH:
                return True
        text_from = at
    return False


@jit_no_alloc
def _exceeded(counts: Counts) -> bool:
    return bool(counts[_NS] > MAX_NS or counts[_MEMORY] > MAX_BYTES or counts[_TAGS] > MAX_TAGS)


@jit_no_alloc
def _count_text(page: Bytes, begin: int, end: int, depth: int, counts: Counts) -> None:
    """Count the memory of a text: what it may be appended to is moved, perhaps in front of a table."""
    end = min(end, page.size)
    while counts[_IN_TABLE] and begin < end and is_space(page[begin]):
        begin += 1
    if begin >= end:
        return
    _count_reopened(depth, counts)
    counts[_MEMORY] += TEXT_BYTES
    run = _TABLE_RUN if counts[_IN_TABLE] else _RUN
    if counts[run]:
        counts[_MEMORY] += (counts[run] + end - begin) // MOVED_BYTES_PER_BYTE
    counts[run] += end - begin


@jit_no_alloc
def _count_tag(traits: int, attributes: int, depth: int, opens: bool, counts: Counts) -> None:
    """Count the time and memory of a tag."""
    counts[_TAGS] += 1
    pairs = attributes * attributes // 2
    if traits & ROOT:
        pairs += attributes * counts[_ROOT_ATTRIBUTES]
        counts[_ROOT_ATTRIBUTES] += attributes
    if traits & OPTION and opens:
        pairs += counts[_OPTIONS]
        counts[_OPTIONS] += 2  # with its text
    counts[_NS] += depth * DEPTH_NS + pairs * PAIR_NS + (1 + attributes) * counts[_NAMES] * NAME_NS
    if opens:
        _count_reopened(depth, counts)
        counts[_MEMORY] += ELEMENT_BYTES + attributes * ATTRIBUTE_BYTES
    if not traits & FORMATTING:
        counts[_REOPENS] = 1


@jit_no_alloc
def _count_reopened(depth: int, counts: Counts) -> None:
    """Count the formatting elements that are opened again before the first text or tag in a block."""
    elements = counts[_PENDING] * counts[_REOPENS]
    counts[_NS] += elements * (depth * DEPTH_NS + counts[_NAMES] * NAME_NS)
    counts[_MEMORY] += elements * ELEMENT_BYTES
    counts[_REOPENS] = 0


@jit_no_alloc
def _open(
    stack: Elements,
    depth: int,
    name: Code,
    fingerprint: Code,
    traits: int,
    closed: bool,
    attributes: int,
    counts: Counts,
) -> int:
    """Open the element of a start tag; return the new depth."""
    inside = stack[depth - 1, _INSIDE] if depth else np.uint64(_HTML)
    if inside != _HTML and (traits & BREAKOUT or (traits & FONT and attributes)):
        _break_out(stack, depth)
        inside = np.uint64(_HTML)
    if inside == _HTML:
        _follow_table(traits, counts)
        if traits & SELECT and not counts[_SELECTS]:
            counts[_OPTIONS] = 0
    # It has no content if it is void, or `<name/>` in SVG or MathML.
    foreign = inside in (_IN_SVG, _IN_MATH)
    if (traits & UNSTACKED and inside == _HTML) or (closed and (foreign or traits & (SVG | MATH))):
        return depth
    if depth == MAX_DEPTH:
        return depth + 1
    if inside == _HTML and traits & (SVG | MATH):
        inside = np.uint64(_IN_SVG if traits & SVG else _IN_MATH)
    elif (inside == _IN_SVG and traits & HTML_IN_SVG) or (inside == _IN_MATH and traits & HTML_IN_MATH):
        inside = np.uint64(_HTML)
    elif inside == _IN_MATH and traits & ANNOTATION:
        inside = np.uint64(_UNSURE)
    stack[depth, _NAME], stack[depth, _ATTRIBUTES], stack[depth, _INSIDE] = name, fingerprint, inside
    stack[depth, _WAS_IN_TABLE] = counts[_IN_TABLE]
    is_table = traits & TABLE > 0
    counts[_IN_TABLE] = is_table
    counts[_TABLES] += is_table
    counts[_SELECTS] += traits & SELECT > 0
    return depth + 1


@jit_no_alloc
def _close(stack: Elements, depth: int, pending: Elements, name: Code, traits: int, counts: Counts) -> int:
    """Close the element of an end tag and all that are open within it; return the new depth."""
    target = _matching(stack, depth, name)
    if target < 0:
        counts[_PENDING] = _remove_pending(pending, counts[_PENDING], name)
        if traits & END_BREAKOUT:
            _break_out(stack, depth)
        if traits & (TABLE_PART | CELL):
            counts[_IN_TABLE] = counts[_TABLES] > 0
        return depth
    counts[_RUN] = 0
    for popped in range(target, depth):
        popped_traits = traits_of(stack[popped, _NAME])
        counts[_TABLES] -= popped_traits & TABLE > 0
        counts[_SELECTS] -= popped_traits & SELECT > 0
        if popped_traits & FORMATTING and popped > target:
            counts[_PENDING] = _add_pending(pending, counts[_PENDING], stack[popped, _NAME], stack[popped, _ATTRIBUTES])
    was_in_table = stack[target, _WAS_IN_TABLE] > 0
    counts[_IN_TABLE] = was_in_table or (counts[_IN_TABLE] > 0 and not traits & TABLE)
    return target


@jit_no_alloc
def _follow_table(traits: int, counts: Counts) -> None:
    """Note the effect of an HTML start tag: text after it is new unless the tag may be ignored, or is in a table."""
    part = traits & (TABLE_PART | CELL) > 0
    if part and counts[_TABLES]:
        counts[_IN_TABLE] = traits & CELL == 0
    if not traits & IGNORABLE or (part and counts[_TABLES]):
        counts[_RUN] = 0


@jit_no_alloc
def _break_out(stack: Elements, depth: int) -> None:
    """Continue as HTML: the parser closes the SVG or MathML that is open, which stays on this stack."""
    for index in range(depth - 1, -1, -1):
        if stack[index, _INSIDE] == _HTML:
            return
        stack[index, _INSIDE] = _HTML


@jit_no_alloc
def _matching(stack: Elements, depth: int, name: Code) -> int:
    """Return the index of the open element that an end tag closes; -1 if there is none before a barrier."""
    barriers = BARRIER if traits_of(name) & (BLOCK | BARRIER) else BLOCK | BARRIER
    for index in range(depth - 1, -1, -1):
        if stack[index, _NAME] == name:
            return index
        if traits_of(stack[index, _NAME]) & barriers:
            return -1
    return -1


@jit_no_alloc
def _add_pending(pending: Elements, count: int, name: Code, fingerprint: Code) -> int:
    """Add a formatting element to open again, and return the new count.

    Nothing is added if three equal ones (or one link) are pending already.
    """
    equal, link = 0, traits_of(name) & LINK
    for index in range(count):
        equal += pending[index, _NAME] == name and (link > 0 or pending[index, _ATTRIBUTES] == fingerprint)
    if equal >= (1 if link else 3) or count == len(pending):
        return count
    pending[count, _NAME], pending[count, _ATTRIBUTES] = name, fingerprint
    return count + 1


@jit_no_alloc
def _remove_pending(pending: Elements, count: int, name: Code) -> int:
    """Remove the last pending element of a name; return the new count."""
    for index in range(count - 1, -1, -1):
        if pending[index, _NAME] == name:
            for later in range(index + 1, count):
                for column in range(pending.shape[1]):
                    pending[later - 1, column] = pending[later, column]
            return count - 1
    return count
