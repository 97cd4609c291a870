"""Cuts a text into words as spaCy's English tokenizer does: at spaces, then affixes, then what stands inside.

Published thresholds were tuned on those words; docs/word_boundaries.md says how well these agree.

Source: spaCy 3.8 (MIT), spacy/tokenizer.pyx, lang/punctuation.py, lang/en/punctuation.py, lang/tokenizer_exceptions.py
"""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels import characters as c
from corpus.quality.kernels.characters import Codes, Kinds
from corpus.quality.kernels.exceptions import CUTS, UNIT, find, may_be

Spans = NDArray[np.int32]  # [span, 2]: the first code point of each, and the one behind its last

_DOT, _ELLIPSIS, _PLUS, _HYPHEN, _EM_DASH, _DOLLAR, _PERCENT = 0x2E, 0x2026, 0x2B, 0x2D, 0x2014, 0x24, 0x25
_COMMA, _COLON, _SLASH, _AT, _UNDERSCORE, _DEGREE = 0x2C, 0x3A, 0x2F, 0x40, 0x5F, 0xB0


@jit
def words(codes: Codes, kinds: Kinds, size: int) -> Spans:
    """The words of codes[:size], in order."""
    spans = np.empty((size, 2), np.int32)  # no run gives more words than it has characters; unused pages cost nothing
    return spans[: _cut(codes, kinds, size, spans)]


@jit_no_alloc
def _cut(codes: Codes, kinds: Kinds, size: int, spans: Spans) -> int:
    count = here = as_int64(0)
    while here < size:
        if kinds[here] & c.SPACE:
            here += 1
            continue
        end, seen = here, np.uint16(0)
        while end < size and not kinds[end] & c.SPACE:
            seen |= kinds[end]
            end += 1
        if seen & c.CUT:
            count = _run(codes, kinds, here, end, spans, count, seen & c.DIGIT != 0)
        elif may_be(codes[here], codes[end - 1], end - here):
            count = _known(codes, here, end, spans, count)
        else:
            spans[count, 0], spans[count, 1] = here, end
            count += 1
        here = end
    return count


@jit_no_alloc
def _put(spans: Spans, count: int, start: int, end: int) -> int:
    spans[count, 0] = start
    spans[count, 1] = end
    return count + 1


@jit_no_alloc
def _special(codes: Codes, start: int, end: int) -> int:
    number = find(codes, start, end)
    return -1 if number >= 0 and CUTS[number, 0] == UNIT else number


@jit_no_alloc
def _known(codes: Codes, start: int, end: int, spans: Spans, count: int) -> int:
    """One word, or those that the table of exceptions makes of it."""
    number = _special(codes, start, end)
    if number >= 0:
        first, second = as_int64(int(CUTS[number, 0])), as_int64(int(CUTS[number, 1]))
        if first:
            count = _put(spans, count, start, start + first)
        if second:
            count = _put(spans, count, start + first, start + second)
        start += max(first, second)
    return _put(spans, count, start, end)


@jit_no_alloc
def _run(codes: Codes, kinds: Kinds, start: int, end: int, spans: Spans, count: int, digits: bool) -> int:
    """The words of a run of non-spaces: prefixes and suffixes off until none is left or an exception is."""
    top = limit = count + end - start  # suffixes come last one first: they wait at the far end of the run's room
    while start < end and _special(codes, start, end) < 0:
        prefix = _prefix(codes, kinds, start, end)
        if prefix and _special(codes, start + prefix, end) >= 0:
            count = _put(spans, count, start, start + prefix)
            start += prefix
            break
        suffix = _suffix(codes, kinds, start + prefix, end, digits)
        if suffix:
            top = _put(spans, top - 1, end - suffix, end) - 1
            end -= suffix
            if _special(codes, start, end) >= 0:
                break
        if prefix:
            count = _put(spans, count, start, start + prefix)
            start += prefix
        if not prefix and not suffix:
            break
    if start < end:
        if _special(codes, start, end) >= 0 or _is_address(codes, kinds, start, end):
            count = _known(codes, start, end, spans, count)
        else:
            count = _inside(codes, kinds, start, end, spans, count)
    for waiting in range(top, limit):
        count = _put(spans, count, spans[waiting, 0], spans[waiting, 1])
    return count


@jit_no_alloc
def _prefix(codes: Codes, kinds: Kinds, start: int, end: int) -> int:
    """How many characters are a word of their own at the start of codes[start:end]."""
    width = 0
    if kinds[start] & c.PREFIX:
        width = 1
    elif codes[start] == _DOT:
        width = _dots(codes, start, end)
    elif codes[start] == _PLUS:
        width = 0 if start + 1 < end and kinds[start + 1] & c.DIGIT else 1
    elif _is_dollar(codes, start, end, as_int64(2)) or _is_dollar(codes, start, end, as_int64(3)):
        width = 2 if codes[start + 1] == _DOLLAR else 3
    return width


@jit_no_alloc
def _dots(codes: Codes, start: int, end: int) -> int:
    """How many full stops stand at `start`, if there are two or more."""
    here = start
    while here < end and codes[here] == _DOT:
        here += 1
    return here - start if here - start > 1 else 0


@jit_no_alloc
def _is_dollar(codes: Codes, start: int, end: int, width: int) -> bool:
    """C$ and A$ (of width 2), US$ (3)."""
    within = start + width <= end and codes[start + width - 1] == _DOLLAR
    two = width == 2 and (codes[start] == 0x43 or codes[start] == 0x41)
    return within and (two or (width == 3 and codes[start] == 0x55 and codes[start + 1] == 0x53))


@jit_no_alloc
def _suffix(codes: Codes, kinds: Kinds, start: int, end: int, digits: bool) -> int:
    """How many characters are a word of their own at the end of codes[start:end]."""
    last = end - 1
    code = codes[last] if last >= start else np.uint32(0)
    kind = kinds[last] if last >= start else np.uint16(0)
    before = kinds[last - 1] if last > start else np.uint16(0)
    width = 0
    if code == _DOT:
        while last - width >= start and codes[last - width] == _DOT:
            width += 1
        if width == 1 and not before & c.BEFORE_DOT:
            shout = before & c.UPPER != 0 and last - 1 > start
            width = as_int64(shout and (kinds[last - 2] & c.UPPER != 0 or codes[last - 2] == _DEGREE))
    elif code == _ELLIPSIS:
        width = 2 if last > start and codes[last - 1] == _ELLIPSIS else 1
    elif kind & c.SUFFIX:
        width = 1
    elif (code == 0x73 or code == 0x53) and last > start and (codes[last - 1] == 0x27 or codes[last - 1] == 0x2019):
        width = 2  # 's
    elif digits:
        width = _amount(codes, kinds, start, end)
    return width


@jit_no_alloc
def _amount(codes: Codes, kinds: Kinds, start: int, end: int) -> int:
    """How many characters behind a digit at the end are a unit, a currency or a plus."""
    for width in range(5, 0, -1):
        here = end - width
        if here > start and kinds[here - 1] & c.DIGIT:
            sign = width == 1 and (codes[here] == _PLUS or kinds[here] & c.CURRENCY != 0)
            if sign or _is_dollar(codes, here, end, width):
                return width
            number = find(codes, here, end)
            if number >= 0 and CUTS[number, 0] == UNIT:
                return width
    return 0


@jit_no_alloc
def _inside(codes: Codes, kinds: Kinds, start: int, end: int, spans: Spans, count: int) -> int:
    """The words of a run without affixes: cut around what `_infix` finds behind its first character."""
    word = here = start
    while here < end:
        width = _infix(codes, kinds, start, end, here)
        if width and here > start:
            if here > word:
                count = _known(codes, word, here, spans, count)
            count = _put(spans, count, here, here + width)
            word = here + width
        here += max(width, 1)
    return _known(codes, word, end, spans, count) if word < end else count


@jit_no_alloc
def _infix(codes: Codes, kinds: Kinds, start: int, end: int, here: int) -> int:
    """How many characters at `here` are a word of their own inside codes[start:end]."""
    width = 0
    if kinds[here] & c.CUT:
        code = codes[here]
        if code == _DOT:
            width = _dots(codes, here, end)
        elif code == _ELLIPSIS or kinds[here] & c.ICON:
            width = 1
        if not width and here > start and here + 1 < end and not kinds[here] & c.ALNUM:
            width = _between(codes, kinds, end, here)
    return width


@jit_no_alloc
def _between(codes: Codes, kinds: Kinds, end: int, here: int) -> int:
    """The same for what is a word for its neighbours' sake."""
    code, before, after = codes[here], kinds[here - 1], kinds[here + 1]
    named = before & (c.ALPHA | c.DIGIT) != 0
    width = 0
    if code == _DOT:
        width = as_int64(before & (c.LOWER | c.QUOTE) != 0 and after & (c.UPPER | c.QUOTE) != 0)
    elif code == _COMMA:
        width = as_int64(before & after & c.ALPHA != 0)
    elif code in (_COLON, _SLASH) or 0x3C <= code <= 0x3E:  # : / < = >
        width = as_int64(named and after & c.ALPHA != 0)
    elif before & c.DIGIT and (after & c.DIGIT or codes[here + 1] == _HYPHEN):
        width = as_int64(code in (_PLUS, _HYPHEN, 0x2A, 0x5E))  # + - * ^
    if not width and named and code in (_HYPHEN, _EM_DASH, 0x2013, 0x7E):  # - — – ~
        longest = 3 if code == _HYPHEN else (2 if code == _EM_DASH else 1)
        run = 1
        while run < longest and here + run < end and codes[here + run] == code:
            run += 1
        if here + run < end and kinds[here + run] & c.ALPHA:
            width = run
    return width


@jit_no_alloc
def _is_address(codes: Codes, kinds: Kinds, start: int, end: int) -> bool:
    """Whether codes[start:end] is one word as [scheme://][user@]host.name[:port][/path]."""
    here = first = start
    while here < end and (
        kinds[here] & c.ALNUM or codes[here] == _UNDERSCORE or codes[here] == _PLUS or _HYPHEN <= codes[here] <= _DOT
    ):
        here += 1
    scheme = here - start >= 2 and here + 2 < end and codes[here] == _COLON
    if scheme and codes[here + 1] == _SLASH and codes[here + 2] == _SLASH:
        start = here + 3
    if _is_host(codes, kinds, start, end):
        return True
    here = end - 1
    while here > first and codes[here] != _AT:
        here -= 1
    return here > first and _is_host(codes, kinds, here + 1, end)


@jit_no_alloc
def _is_host(codes: Codes, kinds: Kinds, start: int, end: int) -> bool:
    here = label = start
    dots = 0
    lower = True
    while here < end and (kinds[here] & c.HOST or codes[here] == _UNDERSCORE or _HYPHEN <= codes[here] <= _DOT):
        if codes[here] == _DOT:
            whole = 1 <= here - label <= 64 and kinds[label] & c.HOST and kinds[here - 1] & c.HOST
            if not whole:
                return False
            dots += 1
            label, lower = here + 1, True
        else:
            lower = lower and kinds[here] & c.LOWER != 0
        here += 1
    if not dots or not lower or not 2 <= here - label <= 63:
        return False
    if here < end and codes[here] == _COLON:
        port = here + 1
        while port < end and kinds[port] & c.DIGIT:
            port += 1
        if not 2 <= port - here - 1 <= 5:
            return False
        here = port
    return here == end or codes[here] == _SLASH or codes[here] == 0x3F or codes[here] == 0x23
