"""Finds the HTML pages on which a parser would run for hours or fill the memory: one compiled pass over the bytes.

Parsing and extraction cost the product of a page's tags and its depth, the square of a tag's attributes, and, where
formatting elements are left open when the block around them closes, one element for each of them in each later block.
The pass keeps a stack of open elements nearly as the HTML standard does, and where it errs, errs towards depth. It
bounds what broken and naively hostile pages cost; a page built against this very pass may still cost more.
Source: https://html.spec.whatwg.org/multipage/parsing.html, sections 13.2.5 and 13.2.6.
"""

from collections.abc import Sequence

import numba
import numpy as np

MAX_TAGS = 1_000_000
MAX_DEPTH = 512  # Source: Blink, kMaximumHTMLParserDOMTreeDepth
MAX_ATTRIBUTES = 256
MAX_REOPENED = 2_000_000


def _code(name: str) -> int:
    return int.from_bytes(name.encode()[:8], "little")


def _codes(names: str) -> Sequence[int]:
    return tuple(np.uint64(_code(name)) for name in names.split())


_VOID = _codes("area base br col embed hr img input link meta param source track wbr")
_CLOSED_BY_THE_NEXT = _codes("p li dd dt option tr td th tbody thead tfoot colgroup html head body")
_FORMATTING = _codes("a b big code em font i nobr s small strike strong tt u")
_RAW = _codes("script style textarea title xmp iframe noembed noframes")
_BARRIERS = _codes("applet caption table td th marquee object template svg math foreignobject desc")
_BLOCKS = _codes(
    "address article aside blockquote button center details dialog dir div dl fieldset figcaption figure footer form "
    "frameset h1 h2 h3 h4 h5 h6 header hgroup main menu nav noscript ol pre section select summary ul"
)
_FOREIGN = _codes("svg math")
_ORDINARY, _FORMAT, _BLOCK, _BARRIER = 0, 1, 2, 3


def too_complex(page: bytes) -> bool:
    """Whether a page is beyond any of the bounds above."""
    return bool(_too_complex(np.frombuffer(page, np.uint8)))


@numba.njit(cache=True)
def _kind(name: int) -> int:
    if name in _FORMATTING:
        return _FORMAT
    if name in _BLOCKS:
        return _BLOCK
    return _BARRIER if name in _BARRIERS else _ORDINARY


@numba.njit(cache=True)
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@numba.njit(cache=True)
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@numba.njit(cache=True)
def _name(page: np.ndarray, at: int) -> tuple[int, int]:
    """The first eight bytes of the tag name at `at`, in lower case, and where it ends."""
    name, count = np.uint64(0), 0
    while at < page.size and not _is_space(page[at]) and page[at] != 47 and page[at] != 62:
        if count < 8:
            name |= np.uint64(_lower(page[at])) << np.uint64(8 * count)
        count += 1
        at += 1
    return name, at


@numba.njit(cache=True)
def _attributes(page: np.ndarray, at: int) -> tuple[int, int, int]:
    """How many attributes stand from `at`, where their tag ends, and a hash of them all."""
    count, fingerprint = 0, np.uint64(14695981039346656037)
    while at < page.size and page[at] != 62:
        if _is_space(page[at]) or page[at] == 47:
            at += 1
            continue
        count += 1
        begin = at
        at += 1  # an "=" may begin a name
        while at < page.size and not _is_space(page[at]) and page[at] != 47 and page[at] != 62 and page[at] != 61:
            at += 1
        after = at
        while after < page.size and _is_space(page[after]):
            after += 1
        if after < page.size and page[after] == 61:
            at = _value(page, after + 1)
        for place in range(begin, min(at, page.size)):
            fingerprint = (fingerprint ^ np.uint64(page[place])) * np.uint64(1099511628211)
    return count, at + 1, fingerprint


@numba.njit(cache=True)
def _value(page: np.ndarray, at: int) -> int:
    """Where the attribute value behind an "=" ends."""
    while at < page.size and _is_space(page[at]):
        at += 1
    if at < page.size and (page[at] == 34 or page[at] == 39):
        quote = page[at]
        at += 1
        while at < page.size and page[at] != quote:
            at += 1
        return at + 1
    while at < page.size and not _is_space(page[at]) and page[at] != 62:
        at += 1
    return at


@numba.njit(cache=True)
def _after_markup(page: np.ndarray, at: int) -> int:
    """Where a comment, a doctype or the like that begins with the "<" at `at` ends."""
    at += 2
    if at + 1 < page.size and page[at] == 45 and page[at + 1] == 45 and page[at - 1] == 33:
        at += 2
        if at < page.size and page[at] == 62:
            return at + 1
        if at + 1 < page.size and page[at] == 45 and page[at + 1] == 62:
            return at + 2
        while at + 2 < page.size:
            if page[at] == 45 and page[at + 1] == 45:
                if page[at + 2] == 62:
                    return at + 3
                if page[at + 2] == 33 and at + 3 < page.size and page[at + 3] == 62:
                    return at + 4
            at += 1
        return page.size
    while at < page.size and page[at] != 62:
        at += 1
    return at + 1


@numba.njit(cache=True)
def _after_raw(page: np.ndarray, at: int, name: int) -> int:
    """Where the end tag of an element stands whose content is not markup."""
    while at + 1 < page.size:
        if page[at] == 60 and page[at + 1] == 47 and _name(page, at + 2)[0] == name:
            return at
        at += 1
    return page.size


@numba.njit(cache=True)
def _matching(stack: np.ndarray, depth: int, name: int) -> int:
    """Which open element an end tag closes; -1 if none, or if one stands between that it does not close."""
    kind = _kind(name)
    for place in range(depth - 1, -1, -1):
        if stack[place] == name:
            return place
        between = _kind(stack[place])
        if between == _BARRIER or (between == _BLOCK and kind in (_ORDINARY, _FORMAT)):
            return -1
    return -1


@numba.njit(cache=True)
def _leave_open(left: np.ndarray, left_prints: np.ndarray, count: int, name: int, fingerprint: int) -> int:
    """Notes a formatting element that its block's end closed: it opens again. Three alike are kept, and one `a`."""
    alike = 0
    for place in range(count):
        if left[place] == name and (left_prints[place] == fingerprint or name == _FORMATTING[0]):
            alike += 1
    if alike >= (1 if name == _FORMATTING[0] else 3) or count == left.size:
        return count
    left[count], left_prints[count] = name, fingerprint
    return count + 1


@numba.njit(cache=True)
def _close_left(left: np.ndarray, left_prints: np.ndarray, count: int, name: int) -> int:
    for place in range(count - 1, -1, -1):
        if left[place] == name:
            left[place:-1] = left[place + 1 :].copy()
            left_prints[place:-1] = left_prints[place + 1 :].copy()
            return count - 1
    return count


@numba.njit(cache=True)
def _too_complex(page: np.ndarray) -> bool:
    stack, prints = np.zeros(MAX_DEPTH, np.uint64), np.zeros(MAX_DEPTH, np.uint64)
    left, left_prints = np.zeros(MAX_DEPTH, np.uint64), np.zeros(MAX_DEPTH, np.uint64)
    depth = foreign = tags = reopened = left_open = at = 0
    while at + 1 < page.size:
        if page[at] != 60:
            at += 1
            continue
        closes = page[at + 1] == 47
        begin = at + 2 if closes else at + 1
        if begin >= page.size or not 97 <= _lower(page[begin]) <= 122:
            at = _after_markup(page, at) if closes or page[at + 1] == 33 or page[at + 1] == 63 else at + 1
            continue
        name, at = _name(page, begin)
        attributes, at, fingerprint = _attributes(page, at)
        tags += 1
        reopened += left_open
        if attributes > MAX_ATTRIBUTES or tags > MAX_TAGS or reopened > MAX_REOPENED:
            return True
        if closes:
            place = _matching(stack, depth, name)
            if place < 0:
                left_open = _close_left(left, left_prints, left_open, name)
                continue
            for popped in range(place, depth):
                foreign -= stack[popped] in _FOREIGN
                if popped > place and stack[popped] in _FORMATTING:
                    left_open = _leave_open(left, left_prints, left_open, stack[popped], prints[popped])
            depth = place
        elif name in _RAW and not foreign:
            at = _after_raw(page, at, name)
        elif not (name in _VOID or name in _CLOSED_BY_THE_NEXT):
            if foreign and page[min(at, page.size) - 2] == 47 and _kind(name) == _ORDINARY:
                continue
            if depth == MAX_DEPTH:
                return True
            stack[depth], prints[depth] = name, fingerprint
            depth += 1
            foreign += name in _FOREIGN
    return False
