"""Text of HTML pages, extracted by Resiliparse from bytes in any encoding, after a check that the page can be parsed.

The cost of parsing grows with tags × depth and with the square of the attributes of a tag. Each formatting element that
is left open at the end of a block is opened again in every later block. `too_complex` rejects pages on which this takes
hours or fills the memory. Its one compiled pass keeps a stack of open elements nearly as the HTML standard does, and
may overestimate the depth. It does not stop a page that is designed to defeat it.
Source: https://html.spec.whatwg.org/multipage/parsing.html, sections 13.2.5 and 13.2.6.
"""

import codecs
import re

import numpy as np
import numpy.typing as npt
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

from corpus.compiled import cached_jit, jit_no_alloc
from corpus.document import UnreadableError

MAX_TAGS = 1_000_000
MAX_DEPTH = 256  # Source: libxml2, xmlParserMaxDepth
MAX_ATTRIBUTES = 256  # of one tag
MAX_REOPENED = 2_000_000  # formatting elements that are opened again, summed over all tags

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NEWLINE = re.compile(r"\r\n?|\x85|\u2028|\u2029")
_NOT_TEXT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ud800-\udfff]")

# Traits of elements, as bits. Elements without any are simply stacked.
_UNSTACKED, _RAW, _FOREIGN, _FORMATTING, _BLOCK, _BARRIER, _LINK = 1, 2, 4, 8, 16, 32, 64
_NAMES = {
    # void elements, and those that the next of their kind closes, so that they cannot nest on their own
    "area base br col embed hr img input link meta param source track wbr p li dd dt option tr td th tbody thead tfoot "
    "colgroup html head body": _UNSTACKED,
    "script style textarea title xmp iframe noembed noframes": _RAW,
    "svg math": _FOREIGN | _BARRIER,
    "a": _FORMATTING | _LINK,
    "b big code em font i nobr s small strike strong tt u": _FORMATTING,
    "address article aside blockquote button center details dialog dir div dl fieldset figcaption figure footer form "
    "frameset h1 h2 h3 h4 h5 h6 header hgroup main menu nav noscript ol pre section select summary ul": _BLOCK,
    "applet caption table marquee object template foreignobject desc": _BARRIER,
}
_NAME_BYTES = 8  # a name is compared by its first bytes, packed into one integer
_TRAITS_BY_CODE = sorted(
    (int.from_bytes(name.encode()[:_NAME_BYTES], "little"), traits)
    for names, traits in _NAMES.items()
    for name in names.split()
)
_CODES = np.array([code for code, _ in _TRAITS_BY_CODE], np.uint64)
_TRAITS = np.array([traits for _, traits in _TRAITS_BY_CODE], np.int64)
_LESS, _GREATER, _SLASH, _EQUALS, _DASH, _BANG, _QUESTION = b"<>/=-!?"

Bytes = npt.NDArray[np.uint8]
Elements = npt.NDArray[np.uint64]  # [element, 2]: name, hash of the attributes
Code = np.uint64


def html_text(content: bytes, charset: str | None, main_content: bool) -> str:
    r"""Return the text of a page, or only that of its main content; "" if the page shows no text.

    `charset` is the encoding that the HTTP header states. Lines end in `\n`; the only control character is tab.
    Raises UnreadableError("too_complex").
    """
    page = decode(content, charset)
    if too_complex(page.encode("utf-8")):
        raise UnreadableError("too_complex")
    text = extract_plain_text(page, main_content=main_content)
    return _NOT_TEXT.sub("", _NEWLINE.sub("\n", text)).strip()


def decode(content: bytes, charset: str | None) -> str:
    """Decode a page by its byte order mark, else by `charset` if it names an encoding, else by detection.

    Bytes that do not decode become U+FFFD. Source: the order is that of
    https://html.spec.whatwg.org/multipage/parsing.html#determining-the-character-encoding
    """
    encoding = next((name for mark, name in _BOMS if content.startswith(mark)), None)
    if encoding is None and charset:
        encoding = map_encoding_to_html5(charset, fallback_utf8=False)
    if encoding is None:
        encoding = detect_encoding(content, from_html_meta=True) or "utf-8"
    try:
        page = content.decode(encoding, "replace")
    except LookupError:
        page = bytes_to_str(content, "utf-8", errors="replace")
    return page.encode("utf-8", "replace").decode().replace("\0", "")


def too_complex(page: bytes) -> bool:
    """Return True if a page in UTF-8 exceeds any of the bounds above."""
    return bool(_exceeds_bounds(np.frombuffer(page, np.uint8)))


@cached_jit
def _exceeds_bounds(page: Bytes) -> bool:
    # The open elements, and the formatting elements whose block has closed: a parser opens these again in each later
    # block. Each is its name and a hash of its attributes.
    stack, pending = np.zeros((MAX_DEPTH, 2), np.uint64), np.zeros((MAX_DEPTH, 2), np.uint64)
    depth = foreign = tags = reopened = pending_count = at = 0
    while at + 1 < page.size:
        # Find the next tag, past text, comments and declarations.
        if page[at] != _LESS:
            at += 1
            continue
        following = page[at + 1]
        begin = at + 2 if following == _SLASH else at + 1
        if not 97 <= _lower(_byte(page, begin)) <= 122:
            markup = following in (_SLASH, _BANG, _QUESTION)
            at = _after_markup(page, at) if markup and begin < page.size else at + 1
            continue

        # Count it.
        name, at = _name(page, begin)
        attributes, at, fingerprint = _attributes(page, at)
        tags += 1
        reopened += pending_count
        if attributes > MAX_ATTRIBUTES or tags > MAX_TAGS or reopened > MAX_REOPENED:
            return True

        traits = _traits(name)
        if following == _SLASH:
            # An end tag closes its element and all that are open within it.
            target = _matching(stack, depth, name)
            if target < 0:
                pending_count = _remove_pending(pending, pending_count, name)
                continue
            for popped in range(target, depth):
                popped_traits = _traits(stack[popped, 0])
                foreign -= (popped_traits & _FOREIGN) > 0
                if popped_traits & _FORMATTING and popped > target:
                    pending_count = _add_pending(pending, pending_count, stack[popped, 0], stack[popped, 1])
            depth = target
        elif traits & _RAW and not foreign:
            at = _after_raw(page, at, name)
        elif not traits & _UNSTACKED and (traits or not foreign or page[min(at, page.size) - 2] != _SLASH):
            # A start tag opens an element, unless it is `<name/>` in SVG or MathML.
            if depth == MAX_DEPTH:
                return True
            stack[depth, 0], stack[depth, 1] = name, fingerprint
            depth += 1
            foreign += (traits & _FOREIGN) > 0
    return False


@jit_no_alloc
def _traits(name: Code) -> int:
    index = np.searchsorted(_CODES, name)
    return _TRAITS[index] if index < _CODES.size and _CODES[index] == name else 0


@jit_no_alloc
def _byte(page: Bytes, at: int) -> int:
    """Return the byte at an offset; -1 past the end."""
    return int(page[at]) if at < page.size else -1


@jit_no_alloc
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@jit_no_alloc
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@jit_no_alloc
def _ends_name(byte: int) -> bool:
    return byte < 0 or _is_space(byte) or byte in (_SLASH, _GREATER)


@jit_no_alloc
def _name(page: Bytes, at: int) -> tuple[Code, int]:
    """Return the code of the tag name at `at`, and the offset after the name."""
    name, count = np.uint64(0), 0
    while not _ends_name(_byte(page, at)):
        if count < _NAME_BYTES:
            name |= np.uint64(_lower(page[at])) << np.uint64(8 * count)
        count += 1
        at += 1
    return name, at


@jit_no_alloc
def _attributes(page: Bytes, at: int) -> tuple[int, int, Code]:
    """Return the number of attributes from `at`, the offset after their tag, and a hash of them all (FNV-1a)."""
    count, fingerprint = 0, np.uint64(14695981039346656037)
    while at < page.size and page[at] != _GREATER:
        if _is_space(page[at]) or page[at] == _SLASH:
            at += 1
            continue
        count += 1
        begin = at
        at += 1  # even an "=" may begin a name
        while not _ends_name(_byte(page, at)) and page[at] != _EQUALS:
            at += 1
        after = at
        while _is_space(_byte(page, after)):
            after += 1
        if _byte(page, after) == _EQUALS:
            at = _after_value(page, after + 1)
        for index in range(begin, min(at, page.size)):
            fingerprint = (fingerprint ^ np.uint64(page[index])) * np.uint64(1099511628211)
    return count, at + 1, fingerprint


@jit_no_alloc
def _after(page: Bytes, at: int, byte: int) -> int:
    """Return the offset after the next such byte."""
    while at < page.size and page[at] != byte:
        at += 1
    return at + 1


@jit_no_alloc
def _after_value(page: Bytes, at: int) -> int:
    """Return the offset after the attribute value that follows an "="."""
    while _is_space(_byte(page, at)):
        at += 1
    quote = _byte(page, at)
    if quote in (34, 39):
        return _after(page, at + 1, quote)
    while at < page.size and not _is_space(page[at]) and page[at] != _GREATER:
        at += 1
    return at


@jit_no_alloc
def _after_markup(page: Bytes, at: int) -> int:
    """Return the offset after the comment, doctype or similar whose "<" is at `at`."""
    if not (page[at + 1] == _BANG and _byte(page, at + 2) == _DASH and _byte(page, at + 3) == _DASH):
        return _after(page, at + 2, _GREATER)
    for end in range(at + 2, page.size - 2):  # the dashes of `<!-->` and `<!--->` also end it
        if page[end] == _DASH and page[end + 1] == _DASH:
            if page[end + 2] == _GREATER:
                return end + 3
            if end >= at + 4 and page[end + 2] == _BANG and _byte(page, end + 3) == _GREATER:
                return end + 4
    return page.size


@jit_no_alloc
def _after_raw(page: Bytes, at: int, name: Code) -> int:
    """Return the offset of the end tag of an element whose content is not markup."""
    while at + 1 < page.size:
        if page[at] == _LESS and page[at + 1] == _SLASH and _name(page, at + 2)[0] == name:
            return at
        at += 1
    return page.size


@jit_no_alloc
def _matching(stack: Elements, depth: int, name: Code) -> int:
    """Return the index of the open element that an end tag closes; -1 if there is none before a barrier."""
    barriers = _BARRIER if _traits(name) & (_BLOCK | _BARRIER) else _BLOCK | _BARRIER
    for index in range(depth - 1, -1, -1):
        if stack[index, 0] == name:
            return index
        if _traits(stack[index, 0]) & barriers:
            return -1
    return -1


@jit_no_alloc
def _add_pending(pending: Elements, count: int, name: Code, fingerprint: Code) -> int:
    """Add a formatting element to open again, and return the new count.

    Nothing is added if three equal ones (or one link) are pending already.
    """
    equal, link = 0, _traits(name) & _LINK
    for index in range(count):
        equal += pending[index, 0] == name and (link > 0 or pending[index, 1] == fingerprint)
    if equal >= (1 if link else 3) or count == len(pending):
        return count
    pending[count, 0], pending[count, 1] = name, fingerprint
    return count + 1


@jit_no_alloc
def _remove_pending(pending: Elements, count: int, name: Code) -> int:
    """Remove the last pending element of a name; return the new count."""
    for index in range(count - 1, -1, -1):
        if pending[index, 0] == name:
            for later in range(index + 1, count):
                pending[later - 1, 0], pending[later - 1, 1] = pending[later, 0], pending[later, 1]
            return count - 1
    return count
