"""Characters that LaTeX writes as commands or ligatures: accents, letters, punctuation."""

import re
import unicodedata

# Commands of accents and their combining characters. Source: The LaTeX Companion, 3rd ed., table 9.6 (encoding T1)
_ACCENTS = r"""
    ` 0300  ' 0301  ^ 0302  ~ 0303  " 0308  = 0304  . 0307  u 0306  v 030c  H 030b  r 030a  c 0327  k 0328  d 0323
    b 0331  t 0361  textcommabelow 0326
"""


def _commands(pairs: str) -> dict[str, str]:
    """Return the values of a table of commands and values, by command."""
    words = pairs.split()
    return {f"\\{name}": value for name, value in zip(words[::2], words[1::2], strict=True)}


ACCENTS = {command: chr(int(code, 16)) for command, code in _commands(_ACCENTS).items()}
_WITHOUT_LETTER = {"\u0300": "`", "\u0301": "´", "\u0302": "^", "\u0303": "~", "\u0308": "¨"}
_DOTLESS = {"\\i": "i", "\\j": "j", "\\imath": "i", "\\jmath": "j", "ı": "i", "ȷ": "j"}

_SPACES = "quad qquad space enspace thinspace enskip nobreakspace medspace thickspace hfill hfil hss dotfill hrulefill"
SPACES = frozenset(f"\\{name}" for name in (" ", "\n", "\t", ",", ";", ":", ">", *_SPACES.split()))

_NAMED = r"""
    ss ß SS SS o ø O Ø l ł L Ł ae æ AE Æ oe œ OE Œ aa å AA Å i ı j ȷ dh ð DH Ð th þ TH Þ dj đ DJ Đ ng ŋ NG Ŋ ij ĳ
    IJ Ĳ textordfeminine ª textordmasculine º S § P ¶ textsection § textparagraph ¶ copyright © textcopyright ©
    pounds £ textsterling £ euro € texteuro € EUR € textyen ¥ textcent ¢ dag † ddag ‡ textdagger † textdaggerdbl ‡
    dots … ldots … textellipsis … textendash – textemdash — endash – emdash — textbullet • textperiodcentered ·
    textquoteleft ‘ textquoteright ’ textquotedblleft “ textquotedblright ” lq ‘ rq ’ textquotedbl "
    textquotesingle ' quotesinglbase ‚ quotedblbase „ glqq „ grqq “ glq ‚ grq ‘ flqq « frqq » flq ‹ frq ›
    guillemotleft « guillemotright » guilsinglleft ‹ guilsinglright › textbackslash \ textasciitilde ~
    textasciicircum ^ textasciigrave ` texttildelow ~ textless < textgreater > textbar | textunderscore _
    textdollar $ textpercent % lbrack [ textbraceleft { textbraceright } textnumbersign # textampersand & rbrack ]
    textdegree ° degree ° textcelsius ℃ textmu µ textmicro µ texttimes × textpm ± textdiv ÷ textregistered ®
    texttrademark ™ textnumero № textonehalf ½ textonequarter ¼ textthreequarters ¾ textonesuperior ¹
    texttwosuperior ² textthreesuperior ³ textminus − textrightarrow → textleftarrow ← textapprox ≈
    textquestiondown ¿ textexclamdown ¡ textvisiblespace ␣ slash / textslash / textinterrobang ‽
    textreferencemark ※ textohm Ω textperthousand ‰ textasteriskcentered * TeX TeX LaTeX LaTeX LaTeXe LaTeX2e
    BibTeX BibTeX AmS AMS & & % % $ $ # # _ _ { { } }
"""
SYMBOLS = _commands(_NAMED)
SYMBOLS |= {
    "\\og": "« ",
    "\\fg": " »",
    **dict.fromkeys(("\\nobreakdash", "\\-", "\\/", "\\@", "\\!", "\\*", "\\|", "\\+", "\\<"), ""),
}

_LIGATURES = (("---", "—"), ("--", "–"), ("!`", "¡"), ("?`", "¿"), ("``", "“"), ("''", "”"), ("`", "‘"), ("'", "’"))
_LIGATURE = re.compile(r"[-`']")


def accented(accent: str, letter: str) -> str:
    """Return a letter with its accent, or the accent alone if there is no letter."""
    combining = ACCENTS[accent]
    letter = _DOTLESS.get(letter, SYMBOLS.get(letter, letter))
    if letter.startswith("\\") and len(letter) > 1:
        return ""
    if not letter.strip():
        return _WITHOUT_LETTER.get(combining, "")
    return unicodedata.normalize("NFC", letter[0] + combining + letter[1:])


def with_ligatures(run: str) -> str:
    """Return text with the quotes and dashes that TeX prints for it."""
    if _LIGATURE.search(run):
        for ligature, character in _LIGATURES:
            run = run.replace(ligature, character)
    return run
