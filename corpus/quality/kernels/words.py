"""Split a text into words as spaCy's English tokenizer does: at spaces, then affixes, then infixes.

Published thresholds were tuned on those words; docs/word_boundaries.md states how well ours agree.

Source: spaCy 3.8 (MIT), spacy/tokenizer.pyx, lang/punctuation.py, lang/en/punctuation.py, lang/tokenizer_exceptions.py
"""

import numpy as np

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels import character_flags as c
from corpus.quality.kernels.character_flags import Flags
from corpus.quality.kernels.exceptions import SPLITS, UNIT, find, may_be
from corpus.quality.kernels.spans import Codes, Spans, put

_DOT, _ELLIPSIS, _PLUS, _HYPHEN, _EM_DASH, _DOLLAR = 0x2E, 0x2026, 0x2B, 0x2D, 0x2014, 0x24
_COMMA, _COLON, _SLASH, _AT, _UNDERSCORE, _DEGREE = 0x2C, 0x3A, 0x2F, 0x40, 0x5F, 0xB0


@jit
def words(codes: Codes, flags: Flags) -> Spans:
    """Return the words of a text, in order."""
    spans = np.empty((len(codes), 2), np.int32)  # at most one word per character; untouched pages cost no memory
    return spans[: _split(codes, flags, spans)]


@jit_no_alloc
def _split(codes: Codes, flags: Flags, spans: Spans) -> int:
    count = position = as_int64(0)
    while position < len(codes):
        if flags[position] & c.SPACE:
            position += 1
            continue
        # Find the end of the run of non-spaces, and which kinds of characters it has.
        end, seen = position, np.uint16(0)
        while end < len(codes) and not flags[end] & c.SPACE:
            seen |= flags[end]
            end += 1
        # Most runs are plain letters and one word: only the others are looked at in detail.
        if seen & c.CUT:
            count = _split_run(codes, flags, position, end, spans, count, seen & c.DIGIT != 0)
        elif may_be(codes[position], codes[end - 1], end - position):
            count = _put_word(codes, position, end, spans, count)
        else:
            count = put(spans, count, position, end)
        position = end
    return count


@jit_no_alloc
def _exception(codes: Codes, start: int, end: int) -> int:
    """Return the number of the tokenizer exception that equals codes[start:end], or -1. Units are none."""
    number = find(codes, start, end)
    return -1 if number >= 0 and SPLITS[number, 0] == UNIT else number


@jit_no_alloc
def _is_unit(codes: Codes, start: int, end: int) -> bool:
    number = find(codes, start, end)
    return bool(number >= 0 and SPLITS[number, 0] == UNIT)


@jit_no_alloc
def _put_word(codes: Codes, start: int, end: int, spans: Spans, count: int) -> int:
    """Add codes[start:end]: no word, one, or the words of the exception that it equals."""
    number = _exception(codes, start, end)
    if number >= 0:
        first, second = as_int64(int(SPLITS[number, 0])), as_int64(int(SPLITS[number, 1]))
        if first:
            count = put(spans, count, start, start + first)
        if second:
            count = put(spans, count, start + first, start + second)
        start += max(first, second)
    return put(spans, count, start, end) if start < end else count


@jit_no_alloc
def _split_run(codes: Codes, flags: Flags, start: int, end: int, spans: Spans, count: int, digits: bool) -> int:
    """Add the words of a run of non-spaces; `digits` is True if it has any."""
    # Take off prefixes and suffixes in turn, until none is left or the rest is an exception. Suffixes come last one
    # first, so they wait at the far end of the run's room in `spans`.
    top = limit = count + end - start
    while start < end and _exception(codes, start, end) < 0:
        prefix = _prefix_length(codes, flags, start, end)
        if prefix and _exception(codes, start + prefix, end) >= 0:
            count = put(spans, count, start, start + prefix)
            start += prefix
            break
        suffix = _suffix_length(codes, flags, start + prefix, end, digits)
        if suffix:
            top = put(spans, top - 1, end - suffix, end) - 1
            end -= suffix
            if _exception(codes, start, end) >= 0:
                break
        if prefix:
            count = put(spans, count, start, start + prefix)
            start += prefix
        if not prefix and not suffix:
            break
    # The rest is one word, an exception, or split at infixes.
    if start < end:
        if _exception(codes, start, end) >= 0 or _is_address(codes, flags, start, end):
            count = _put_word(codes, start, end, spans, count)
        else:
            count = _split_infixes(codes, flags, start, end, spans, count)
    # Move the suffixes to follow it, in reading order.
    for waiting in range(top, limit):
        count = put(spans, count, spans[waiting, 0], spans[waiting, 1])
    return count


@jit_no_alloc
def _prefix_length(codes: Codes, flags: Flags, start: int, end: int) -> int:
    """Return the length of the prefix of codes[start:end] that is a word of its own, or 0."""
    length = 0
    if flags[start] & c.PREFIX:
        length = 1
    elif codes[start] == _DOT:
        length = _dots(codes, start, end)
    elif codes[start] == _PLUS:
        length = 0 if start + 1 < end and flags[start + 1] & c.DIGIT else 1  # +1 is a number
    else:
        for width in (2, 3):  # C$ A$ US$
            if start + width <= end and codes[start + width - 1] == _DOLLAR and _is_unit(codes, start, start + width):
                length = width
    return length


@jit_no_alloc
def _dots(codes: Codes, start: int, end: int) -> int:
    """Return the number of full stops at `start` if there are two or more, else 0."""
    position = start
    while position < end and codes[position] == _DOT:
        position += 1
    return position - start if position - start > 1 else 0


@jit_no_alloc
def _suffix_length(codes: Codes, flags: Flags, start: int, end: int, digits: bool) -> int:
    """Return the length of the suffix of codes[start:end] that is a word of its own, or 0."""
    last = end - 1
    code = codes[last] if last >= start else np.uint32(0)
    flag = flags[last] if last >= start else np.uint16(0)
    before = flags[last - 1] if last > start else np.uint16(0)
    length = 0
    if code == _DOT:
        while last - length >= start and codes[last - length] == _DOT:
            length += 1
        # A single full stop ends a sentence after a small letter (end.) or two capitals (NATO.), not in J. or U.S.
        if length == 1 and not before & c.BEFORE_DOT:
            capital = before & c.UPPER != 0 and last - 1 > start
            length = as_int64(capital and (flags[last - 2] & c.UPPER != 0 or codes[last - 2] == _DEGREE))
    elif code == _ELLIPSIS:
        length = 2 if last > start and codes[last - 1] == _ELLIPSIS else 1
    elif flag & c.SUFFIX:
        length = 1
    elif (code == 0x73 or code == 0x53) and last > start and (codes[last - 1] == 0x27 or codes[last - 1] == 0x2019):
        length = 2  # 's
    elif digits:
        length = _unit_length(codes, flags, start, end)
    return length


@jit_no_alloc
def _unit_length(codes: Codes, flags: Flags, start: int, end: int) -> int:
    """Return the length of a unit, currency or plus after a digit at the end of codes[start:end], or 0."""
    for length in range(5, 0, -1):  # the longest first
        position = end - length
        if position > start and flags[position - 1] & c.DIGIT and _is_unit(codes, position, end):
            return length
    return 0


@jit_no_alloc
def _split_infixes(codes: Codes, flags: Flags, start: int, end: int, spans: Spans, count: int) -> int:
    """Add the words of a run without affixes, split around each infix after its first character."""
    word = position = start
    while position < end:
        length = _infix_length(codes, flags, start, end, position)
        if length and position > start:
            count = _put_word(codes, word, position, spans, count)
            count = put(spans, count, position, position + length)
            word = position + length
        position += max(length, 1)
    return _put_word(codes, word, end, spans, count)


@jit_no_alloc
def _infix_length(codes: Codes, flags: Flags, start: int, end: int, position: int) -> int:
    """Return the length of the infix at `position` in codes[start:end], or 0."""
    length = 0
    if flags[position] & c.CUT:
        code = codes[position]
        if code == _DOT:
            length = _dots(codes, position, end)
        elif code == _ELLIPSIS or flags[position] & c.ICON:
            length = 1
        if not length and position > start and position + 1 < end and not flags[position] & c.ALNUM:
            length = _between_length(codes, flags, end, position)
    return length


@jit_no_alloc
def _between_length(codes: Codes, flags: Flags, end: int, position: int) -> int:
    """Return the length of an infix that depends on the characters before and after it, or 0."""
    code, before, after = codes[position], flags[position - 1], flags[position + 1]
    letter_or_digit = before & (c.ALPHA | c.DIGIT) != 0
    length = 0
    if code == _DOT:
        length = as_int64(before & (c.LOWER | c.QUOTE) != 0 and after & (c.UPPER | c.QUOTE) != 0)
    elif code == _COMMA:
        length = as_int64(before & after & c.ALPHA != 0)
    elif code in (_COLON, _SLASH) or 0x3C <= code <= 0x3E:  # : / < = >
        length = as_int64(letter_or_digit and after & c.ALPHA != 0)
    elif before & c.DIGIT and (after & c.DIGIT or codes[position + 1] == _HYPHEN):
        length = as_int64(code in (_PLUS, _HYPHEN, 0x2A, 0x5E))  # + - * ^
    if not length and letter_or_digit and code in (_HYPHEN, _EM_DASH, 0x2013, 0x7E):  # - — – ~
        # Dashes between words: up to three hyphens or two em dashes are one infix.
        longest = 3 if code == _HYPHEN else (2 if code == _EM_DASH else 1)
        dashes = 1
        while dashes < longest and position + dashes < end and codes[position + dashes] == code:
            dashes += 1
        if position + dashes < end and flags[position + dashes] & c.ALPHA:
            length = dashes
    return length


@jit_no_alloc
def _is_address(codes: Codes, flags: Flags, start: int, end: int) -> bool:
    """True if codes[start:end] is an address: [scheme://][user@]host.name[:port][/path]."""
    # Skip a scheme.
    position = first = start
    while position < end and (
        flags[position] & c.ALNUM
        or codes[position] == _UNDERSCORE
        or codes[position] == _PLUS
        or _HYPHEN <= codes[position] <= _DOT
    ):
        position += 1
    scheme = position - start >= 2 and position + 2 < end and codes[position] == _COLON
    if scheme and codes[position + 1] == _SLASH and codes[position + 2] == _SLASH:
        start = position + 3
    if _is_host(codes, flags, start, end):
        return True
    # Otherwise the host must follow the last @.
    position = end - 1
    while position > first and codes[position] != _AT:
        position -= 1
    return position > first and _is_host(codes, flags, position + 1, end)


@jit_no_alloc
def _is_host(codes: Codes, flags: Flags, start: int, end: int) -> bool:
    """True if codes[start:end] is a host name with an optional port, path, query and fragment."""
    # Labels of at most 64 characters, separated by full stops; the last one has 2 to 63 small letters.
    position = label = start
    dots = 0
    lower = True
    while position < end and (
        flags[position] & c.HOST or codes[position] == _UNDERSCORE or _HYPHEN <= codes[position] <= _DOT
    ):
        if codes[position] == _DOT:
            if not (1 <= position - label <= 64 and flags[label] & c.HOST and flags[position - 1] & c.HOST):
                return False
            dots += 1
            label, lower = position + 1, True
        else:
            lower = lower and flags[position] & c.LOWER != 0
        position += 1
    if not dots or not lower or not 2 <= position - label <= 63:
        return False
    # A port of 2 to 5 digits.
    if position < end and codes[position] == _COLON:
        port = position + 1
        while port < end and flags[port] & c.DIGIT:
            port += 1
        if not 2 <= port - position - 1 <= 5:
            return False
        position = port
    return position == end or codes[position] == _SLASH or codes[position] == 0x3F or codes[position] == 0x23
