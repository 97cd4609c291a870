"""Encodings by the labels and tables of the WHATWG Encoding Standard.

Python's codecs are narrower: its `shift_jis` has no ㈱, its `big5` no Hong Kong characters. The wider of its codecs are
used, and completed by the characters that they lack. Bytes that the standard maps to control characters (0x81 of
windows-1252) become U+FFFD here. Source: https://encoding.spec.whatwg.org/#names-and-labels and #indexes
"""

import codecs
import re
from collections.abc import Mapping
from functools import cache

_WIDER = {  # by Python's names, written as `codecs.lookup` does
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
}
_OTHER_LABELS = {  # that Resiliparse does not map
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-ukrainian": "mac-cyrillic",
    "x-user-defined": "cp1252",
}
# Of index-big5: runs of consecutive pointers that `big5hkscs` lacks, each after its first code.
_BIG5 = (
    "877A㡵𡵓𣚞𦀡㻬𥣞㫵竼龗𤅡𨤍𣇪𠪊𣉞䌊蒄龖鐯䤰蘓墖靊鈘秐稲晠権袝瑌篅枂稬剏遆㓦珄𥶹瓆鿇垳䤯呌䄱𣚎堘穲𧭥讏䚮𦺈䆁"
    "𥶙箮𢒼鿈𢓁𢓉𢓌鿉蔄𣖻䂴鿊䓡𪷿拁灮鿋 8E69箸 8E6F簆 8E7E糎 8EAB緒 8EB4縝 8ECD者 8ED0耨 8F57菁 8F69蒨 8F6E萏 "
    "8FCB覦覩 8FFE起 906D都 907A銹 90DC靜 90F1響 91BF鼖 9244蔃 92AF兙兛兝兞 92C8鍮 92D1瑹 9447浧 94CA禛 95D9邗 "
    "9644靝 96ED瀞 96FC嬨 9B76爁 9B78矗 9B7B纇 9BC6駖 9BDE釔 9BEC惞 9BF6澶 9C42輶 9C53侻 9C62營 9C68鄄 9C6B鷰 "
    "9C77菏 9CBC尐秣 9CD0婧 9D57輋 9D5A筑 9DC4拐 9EA9恢 9EEF痹 9EFD汊 9F60鬮 9F66鼗 9FCB僭 9FD8弌 A063蠏 "
    "A077拎 A0D5瑨 A0DF煢 A0E4牐 A3C0␀␁␂␃␄␅␆␇␈␉␊␋␌␍␎␏␐␑␒␓␔␕␖␗␘␙␚␛␜␝␞␟␡€ C6CF廴 C6D3无 C6D5癶 C6D7隶 C6DE〃仝 "
    "FA5F倩 FA66偽 FABD包 FAC5卄 FAD5卿 FB48嘅 FBB8婷 FBF3幵 FBF9廐 FC4F彘 FC6C悤 FCB9撐 FCE2晴 FCF1杞 "
    "FDB7沜渝 FDBB港 FDF1煮 FE52猪 FE6F瑜 FEAA瓩 FEDD砉"
)
# Characters that Python's codecs map otherwise, and the standard's.
_JIS = ("〜‖−¢£¬", "～∥－￠￡￢")
_OTHERWISE = {
    "big5hkscs": ("•､‾∼♁☉¥¢£", "‧﹑¯～⊕⊙￥￠￡"),
    "euc_jp": _JIS,
    "iso2022_jp": _JIS,
    "cp932": ("\uf8f0\uf8f1\uf8f2\uf8f3", "\ufffd" * 4),
    "koi8-u": ("╝╬", "ўЎ"),
    "gb18030": (
        "\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue7c7\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
        "\u3000︐︒︑︓︔︕︖︗︘︙ḿ龴龵龶龷龸龹龺龻",
    ),
}
_COMPLETED = ("big5hkscs", "euc_jp", "iso2022_jp", "gb18030")
_MOST_ERRORS = 0.1  # of the characters; text with more is not in the encoding, and need not be completed


def web_encoding(label: str) -> str | None:
    """Return Python's name of the encoding that the web gives a label; None if the web knows no such label."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    label = label.strip().lower()
    name = _OTHER_LABELS.get(label) or map_encoding_to_html5(label, fallback_utf8=False)
    return wider(name) if name else None


def wider(name: str) -> str:
    """Return the codec that holds all of an encoding, by one spelling of Python's name."""
    if name in ("utf-16-le", "utf-16-be"):
        return name
    name = codecs.lookup(name).name
    return _WIDER.get(name, name)


def web_text(content: bytes, encoding: str) -> str:
    """Decode by a name that `web_encoding` returned; bytes that do not decode become U+FFFD."""
    text = content.decode(encoding, "replace")
    if encoding in _COMPLETED and 0 < text.count("\ufffd") <= len(text) * _MOST_ERRORS:
        text = content.decode(encoding, "complete_for_the_web")
    for found, meant in zip(*_OTHERWISE.get(encoding, ("", "")), strict=True):
        text = text.replace(found, meant)
    return text


def _complete(error: UnicodeError) -> tuple[str, int]:
    """Return the character that Python lacks for the bytes at an error, and the offset after it."""
    assert isinstance(error, UnicodeDecodeError)
    lead, trail = error.object[error.start], error.object[error.start + 1 : error.start + 2]
    found = None
    if error.encoding == "gb18030" and lead == 0x80:
        return "€", error.start + 1
    if error.encoding == "big5hkscs" and trail:
        found = _big5().get((lead, trail[0]))
    elif error.encoding == "euc_jp" and trail:
        found = _jis(lead - 0x80, trail[0] - 0x80)
    elif error.encoding == "iso2022_jp" and trail:
        found = _jis(lead, trail[0])
    return (found, error.start + 2) if found else ("\ufffd", error.end)


codecs.register_error("complete_for_the_web", _complete)


@cache
def _big5() -> Mapping[tuple[int, int], str]:
    trails = [*range(0x40, 0x7F), *range(0xA1, 0xFF)]
    table = {}
    for run in re.finditer(r"([0-9A-F]{2})([0-9A-F]{2})(\S+)", _BIG5):
        lead, trail = int(run[1], 16), trails.index(int(run[2], 16))
        for number, character in enumerate(run[3], trail):
            table[lead + number // len(trails), trails[number % len(trails)]] = character
    return table


def _jis(row: int, cell: int) -> str | None:
    """Return the character of NEC's and IBM's rows, at 0x21 to 0x7E each; of JIS X 0208's, cp932 has them alone."""
    if not (0x21 <= row <= 0x7E and 0x21 <= cell <= 0x7E):
        return None
    pair, odd = divmod(row - 0x21, 2)
    lead = pair + (0x81 if pair < 0x1F else 0xC1)
    trail = cell + (0x7E if odd else 0x1F if cell < 0x60 else 0x20)
    try:
        return bytes((lead, trail)).decode("cp932")
    except UnicodeDecodeError:
        return None
