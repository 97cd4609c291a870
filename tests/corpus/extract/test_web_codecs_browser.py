"""The tables of a browser are those of the WHATWG Encoding Standard: ours hold every character that Chromium's do."""

import pytest

from corpus.extract.web_codecs import web_encoding, web_text
from tests.browser import CHROMIUM, needs_chromium

SINGLE_BYTE = [f"windows-{number}" for number in (874, *range(1250, 1259))]
SINGLE_BYTE += [f"iso-8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)]
SINGLE_BYTE += ["ibm866", "koi8-r", "koi8-u", "macintosh", "x-mac-cyrillic"]
DOUBLE_BYTE = ["shift_jis", "euc-kr", "big5", "gbk", "gb18030", "euc-jp"]
# Two codes of one character in Python's big5hkscs, and a vowel that its cp1255 does not have.
KNOWN = {("big5", b"\xa2\x41"), ("big5", b"\xa2\x42"), ("windows-1255", b"\xca")}
# Chromium's ê with a macron or a caron is not the standard's (pointers 1164 and 1166 of index-big5); ours is.
KNOWN |= {("big5", b"\x88\xa3"), ("big5", b"\x88\xa5")}
# Each character as its code points, none if the bytes are an error. A lead byte has 192 trail bytes, from 0x40 on.
DECODE = """([label, double]) => {
  const decoder = new TextDecoder(label, {fatal: true}), found = [];
  for (let lead = 0x80; lead < 256; lead++)
    for (let trail = 0x40; trail < (double ? 256 : 0x41); trail++)
      try {
        const text = decoder.decode(new Uint8Array(double ? [lead, trail] : [lead]))
        found.push([...text].map(character => character.codePointAt(0)))
      } catch { found.push([]) }
  return found
}"""


@needs_chromium
def test_every_character_of_the_browser_is_decoded() -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install gristmill[dev]")
    wrong, characters = [], 0
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        for label in [*SINGLE_BYTE, *DOUBLE_BYTE]:
            double = label in DOUBLE_BYTE
            codes = [
                bytes([lead, t]) if double else bytes([lead]) for lead in range(0x80, 256) for t in range(0x40, 256)
            ]
            for code, points in zip(
                codes if double else codes[::192], page.evaluate(DECODE, [label, double]), strict=True
            ):
                text = "".join(map(chr, points))
                if text and not 0x80 <= points[0] < 0xA0:  # controls are errors to us
                    characters += 1
                    encoding = web_encoding(label)
                    if not encoding or web_text(b"mill " * 4 + code, encoding)[20:] != text:
                        wrong.append((label, code))
        browser.close()
    assert set(wrong) == KNOWN and characters > 100_000
