"""Text of HTML pages, extracted by Resiliparse from bytes in any encoding, after a check that the page can be parsed.

`page_cost.py` has the check. Resiliparse may take hours or all memory for a page that does not pass it.
"""

import re

from resiliparse.extract.html2text import extract_plain_text

from corpus.document import UnreadableError
from corpus.extract.charsets import decode
from corpus.extract.page_cost import too_complex

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
