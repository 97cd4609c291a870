"""HTML to text, through Resiliparse: from bytes, whatever their encoding, to the main content or all that is shown."""

import codecs
import re

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

from corpus.document import UnreadableError
from corpus.extract.html_guard import too_complex

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NEWLINE = re.compile(r"\r\n?|\x85|\u2028|\u2029")
_NOT_TEXT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ud800-\udfff]")


def html_text(content: bytes, charset: str | None, main_content: bool) -> str:
    """The text of a page; `charset` as its carrier claims it.

    Lines end in `\\n`; there are no control characters but tab. "" if the page shows no text.
    Raises UnreadableError (too_complex).
    """
    page = decode(content, charset)
    if too_complex(page.encode("utf-8")):
        raise UnreadableError("too_complex")
    text = extract_plain_text(page, main_content=main_content)
    return _NOT_TEXT.sub("", _NEWLINE.sub("\n", text)).strip()


def decode(content: bytes, charset: str | None) -> str:
    """The page's characters: by its byte order mark, else `charset` if it names an encoding, else as detected.

    What does not decode becomes U+FFFD. Source: the order is that of
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
