"""Compiled functions that read the tags of an HTML page, from its bytes in UTF-8, as the HTML standard does.

Source: https://html.spec.whatwg.org/multipage/parsing.html, section 13.2.5
"""

import numpy as np
import numpy.typing as npt

from corpus.compiled import jit_no_alloc

LESS, GREATER, SLASH, EQUALS, DASH, BANG, QUESTION, BRACKET, CLOSING_BRACKET = b"<>/=-!?[]"
FNV_START, FNV_PRIME = 14695981039346656037, 1099511628211  # Source: FNV-1a, for hashes of names and attributes
NAME_SLOTS = 1 << 16  # of a set of names, a few of which share a slot

Bytes = npt.NDArray[np.uint8]
Slots = npt.NDArray[np.bool_]
Code = np.uint64


def name_code(name: str) -> int:
    """Return the code of a name in lower case, as `read_name` finds it."""
    code = FNV_START
    for byte in name.encode():
        code = (code ^ byte) * FNV_PRIME % 2**64
    return code


@jit_no_alloc
def is_new(name: Code, names: Slots) -> bool:
    """Add a name to the set; return True if it was not in it."""
    slot = name % np.uint64(NAME_SLOTS)
    new = not names[slot]
    names[slot] = True
    return new


@jit_no_alloc
def byte_at(page: Bytes, at: int) -> int:
    """Return the byte at an offset; -1 past the end."""
    return int(page[at]) if at < page.size else -1


@jit_no_alloc
def lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@jit_no_alloc
def is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@jit_no_alloc
def _ends_name(byte: int) -> bool:
    return byte < 0 or is_space(byte) or byte in (SLASH, GREATER)


@jit_no_alloc
def read_name(page: Bytes, at: int) -> tuple[Code, int]:
    """Return the code of the tag name at `at`, and the offset after the name."""
    name = np.uint64(FNV_START)
    while not _ends_name(byte_at(page, at)):
        name = (name ^ np.uint64(lower(page[at]))) * np.uint64(FNV_PRIME)
        at += 1
    return name, at


@jit_no_alloc
def read_attributes(page: Bytes, at: int, names: Slots) -> tuple[int, int, int, Code, bool]:
    """Return the number of attributes from `at`, how many of their names are new, the offset after their tag, a hash of
    them all, and True if the tag ends in `/>`.
    """
    count, new, fingerprint, closed = 0, 0, np.uint64(FNV_START), False
    while at < page.size and page[at] != GREATER:
        closed = page[at] == SLASH
        if is_space(page[at]) or closed:
            at += 1
            continue
        count += 1
        begin = at
        name = np.uint64(FNV_START)
        while begin == at or (not _ends_name(byte_at(page, at)) and page[at] != EQUALS):  # even an "=" may begin a name
            name = (name ^ np.uint64(lower(page[at]))) * np.uint64(FNV_PRIME)
            at += 1
        new += is_new(name, names)
        after = at
        while is_space(byte_at(page, after)):
            after += 1
        if byte_at(page, after) == EQUALS:
            at = _after_value(page, after + 1)
        for index in range(begin, min(at, page.size)):
            fingerprint = (fingerprint ^ np.uint64(page[index])) * np.uint64(FNV_PRIME)
    return count, new, at + 1, fingerprint, closed


@jit_no_alloc
def _after(page: Bytes, at: int, byte: int) -> int:
    """Return the offset after the next such byte."""
    while at < page.size and page[at] != byte:
        at += 1
    return at + 1


@jit_no_alloc
def _after_value(page: Bytes, at: int) -> int:
    """Return the offset after the attribute value that follows an "="."""
    while is_space(byte_at(page, at)):
        at += 1
    quote = byte_at(page, at)
    if quote in (34, 39):
        return _after(page, at + 1, quote)
    while at < page.size and not is_space(page[at]) and page[at] != GREATER:
        at += 1
    return at


@jit_no_alloc
def after_markup(page: Bytes, at: int, cdata: bool) -> int:
    """Return the offset after the comment, doctype or (`cdata`) CDATA section whose "<" is at `at`."""
    if cdata and page[at + 1] == BANG and byte_at(page, at + 2) == BRACKET:
        at += 2
        while at + 2 < page.size and not (page[at] == page[at + 1] == CLOSING_BRACKET and page[at + 2] == GREATER):
            at += 1
        return at + 3
    if not (page[at + 1] == BANG and byte_at(page, at + 2) == DASH and byte_at(page, at + 3) == DASH):
        return _after(page, at + 2, GREATER)
    for end in range(at + 2, page.size - 2):  # the dashes of `<!-->` and `<!--->` also end it
        if page[end] == DASH and page[end + 1] == DASH:
            if page[end + 2] == GREATER:
                return end + 3
            if end >= at + 4 and page[end + 2] == BANG and byte_at(page, end + 3) == GREATER:
                return end + 4
    return page.size


@jit_no_alloc
def after_raw(page: Bytes, at: int, name: Code, is_script: bool) -> int:
    """Return the offset of the end tag of an element whose content is not markup.

    In a comment within a script, `<script>` begins a script whose end tag does not end the outer one.
    """
    comment = inner = False
    while at + 1 < page.size:
        if page[at] == LESS and page[at + 1] == SLASH and read_name(page, at + 2)[0] == name:
            if not inner:
                return at
            inner = False
        elif is_script and page[at] == LESS:
            comment |= page[at + 1] == BANG and byte_at(page, at + 2) == byte_at(page, at + 3) == DASH
            inner |= comment and read_name(page, at + 1)[0] == name
        elif comment and page[at] == page[at + 1] == DASH and byte_at(page, at + 2) == GREATER:
            comment = inner = False
        at += 1
    return page.size
