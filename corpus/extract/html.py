"""Text of HTML pages, extracted by Resiliparse from bytes in any encoding, after a check that the page can be parsed.

`page_cost.py` has the check. Resiliparse may take hours or all memory for a page that does not pass it.
"""

import codecs
import re

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

from corpus.document import UnreadableError
from corpus.extract.page_cost import too_complex

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NEWLINE = re.compile(r"\r\n?|\x85|\u2028|\u2029")
_NOT_TEXT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ud800-\udfff]")
_OUT_OF_MEMORY = "(Error 2)"  # in the message of a parser that got no memory. Source: lexbor, LXB_STATUS_ERROR_MEMORY


def html_text(content: bytes, charset: str | None, main_content: bool) -> str:
    r"""Return the text of a page, or only that of its main content; "" if the page shows no text.

    `charset` is the encoding that the HTTP header states. Lines end in `\n`; the only control character is tab.
    Raises UnreadableError("too_complex").
    """
    page = decode(content, charset)
    if too_complex(page.encode("utf-8")):
        raise UnreadableError("too_complex")
    try:
        text = extract_plain_text(page, main_content=main_content)
    except Exception as error:  # its class cannot be imported
        raise MemoryError if _OUT_OF_MEMORY in str(error) else error from None
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
