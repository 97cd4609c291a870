"""Finds the HTML pages on which a parser would run for hours or fill the memory: one compiled pass over the bytes.

Parsing and extraction cost the product of a page's tags and its depth, the square of a tag's attributes, and, where
formatting elements are left open when the block around them closes, one element for each of them in each later block.
The pass keeps a stack of open elements nearly as the HTML standard does, and where it errs, errs towards depth. It
bounds what broken and naively hostile pages cost; a page built against this very pass may still cost more.
Source: https://html.spec.whatwg.org/multipage/parsing.html, sections 13.2.5 and 13.2.6.
"""

import numpy as np
import numpy.typing as npt

from corpus.compiled import cached_jit, jit_no_alloc

MAX_TAGS = 1_000_000
MAX_DEPTH = 256  # Source: libxml2, xmlParserMaxDepth
MAX_ATTRIBUTES = 256
MAX_REOPENED = 2_000_000


_VOID, _RAW, _FOREIGN, _FORMATTING, _BLOCK, _BARRIER, _LINK = 1, 2, 4, 8, 16, 32, 64
_NAMES = {  # of elements that are not simply stacked, by what is special of them
    # also those which the next of their kind closes, so that they cannot nest on their own
    "area base br col embed hr img input link meta param source track wbr p li dd dt option tr td th tbody thead tfoot "
    "colgroup html head body": _VOID,
    "script style textarea title xmp iframe noembed noframes": _RAW,
    "svg math": _FOREIGN | _BARRIER,
    "a": _FORMATTING | _LINK,
    "b big code em font i nobr s small strike strong tt u": _FORMATTING,
    "address article aside blockquote button center details dialog dir div dl fieldset figcaption figure footer form "
    "frameset h1 h2 h3 h4 h5 h6 header hgroup main menu nav noscript ol pre section select summary ul": _BLOCK,
    "applet caption table marquee object template foreignobject desc": _BARRIER,
}
_NAME_BYTES = 8  # of a name's bytes that tell it from others
_TRAITS_BY_CODE = sorted(
    (int.from_bytes(name.encode()[:_NAME_BYTES], "little"), traits)
    for names, traits in _NAMES.items()
    for name in names.split()
)
_CODES = np.array([code for code, _ in _TRAITS_BY_CODE], np.uint64)
_TRAITS = np.array([traits for _, traits in _TRAITS_BY_CODE], np.int64)

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint64]
Code = np.uint64


def too_complex(page: bytes) -> bool:
    """Whether a page is beyond any of the bounds above."""
    return bool(_too_complex(np.frombuffer(page, np.uint8)))


@jit_no_alloc
def _traits(name: Code) -> int:
    place = np.searchsorted(_CODES, name)
    return _TRAITS[place] if place < _CODES.size and _CODES[place] == name else 0


@jit_no_alloc
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@jit_no_alloc
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@jit_no_alloc
def _name(page: Bytes, at: int) -> tuple[Code, int]:
    """The first eight bytes of the tag name at `at`, in lower case, and where it ends."""
    name, count = np.uint64(0), 0
    while at < page.size and not _is_space(page[at]) and page[at] != 47 and page[at] != 62:
        if count < 8:
            name |= np.uint64(_lower(page[at])) << np.uint64(8 * count)
        count += 1
        at += 1
    return name, at


@jit_no_alloc
def _attributes(page: Bytes, at: int) -> tuple[int, int, Code]:
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


@jit_no_alloc
def _value(page: Bytes, at: int) -> int:
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


@jit_no_alloc
def _after_markup(page: Bytes, at: int) -> int:
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


@jit_no_alloc
def _after_raw(page: Bytes, at: int, name: Code) -> int:
    """Where the end tag of an element stands whose content is not markup."""
    while at + 1 < page.size:
        if page[at] == 60 and page[at + 1] == 47 and _name(page, at + 2)[0] == name:
            return at
        at += 1
    return page.size


@jit_no_alloc
def _matching(stack: Codes, depth: int, name: Code) -> int:
    """Which open element an end tag closes; -1 if none, or if one stands between that it does not close."""
    barriers = _BARRIER if _traits(name) & (_BLOCK | _BARRIER) else _BLOCK | _BARRIER
    for place in range(depth - 1, -1, -1):
        if stack[place] == name:
            return place
        if _traits(stack[place]) & barriers:
            return -1
    return -1


@jit_no_alloc
def _leave_open(left: Codes, prints: Codes, count: int, name: Code, fingerprint: Code) -> int:
    """Notes a formatting element that its block's end closed: it opens again. Three alike are kept, and one link."""
    alike, link = 0, _traits(name) & _LINK
    for place in range(count):
        alike += left[place] == name and (link > 0 or prints[place] == fingerprint)
    if alike >= (1 if link else 3) or count == left.size:
        return count
    left[count], prints[count] = name, fingerprint
    return count + 1


@jit_no_alloc
def _close_left(left: Codes, prints: Codes, count: int, name: Code) -> int:
    """Forgets the last element of that name which was left open."""
    for place in range(count - 1, -1, -1):
        if left[place] == name:
            for later in range(place + 1, count):
                left[later - 1], prints[later - 1] = left[later], prints[later]
            return count - 1
    return count


@cached_jit
def _too_complex(page: Bytes) -> bool:
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
        traits = _traits(name)
        if closes:
            place = _matching(stack, depth, name)
            if place < 0:
                left_open = _close_left(left, left_prints, left_open, name)
                continue
            for popped in range(place, depth):
                of = _traits(stack[popped])
                foreign -= (of & _FOREIGN) > 0
                if of & _FORMATTING and popped > place:
                    left_open = _leave_open(left, left_prints, left_open, stack[popped], prints[popped])
            depth = place
        elif traits & _RAW and not foreign:
            at = _after_raw(page, at, name)
        elif not traits & _VOID and (traits or not foreign or page[min(at, page.size) - 2] != 47):
            if depth == MAX_DEPTH:
                return True
            stack[depth], prints[depth] = name, fingerprint
            depth += 1
            foreign += (traits & _FOREIGN) > 0
    return False
