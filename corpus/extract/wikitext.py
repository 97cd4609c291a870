"""Wikitext to text: prose, headings and lists as lines; no templates, tables, references, images or categories.

Tables are dropped, cells and all: nearly all of them hold figures or layout, and cells in a row are not prose.
Templates are dropped but for a few that stand for running text; what they leave behind (empty brackets, doubled
spaces, headings with nothing below) is tidied away.
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from corpus.document import UnreadableError

# The parser looks for the end of each opened construct up to the end of the text, and takes up to 0.1 ms for each mark.
# A page of the whole 2 MiB that MediaWiki saves may leave 5 constructs open; at the bound, parsing takes 1 to 5 s.
MAX_WORK = 10_000_000
WORK_A_MARK = 200
WORK_A_PART = 100  # a bar, quotes or a rule: up to 0.05 ms

# The namespaces of files and categories in the larger Wikipedias, in lower case. Source: MediaWiki, languages/messages.
_FILE = (
    "file image media datei bild fichier archivo imagen fitxer imatge ficheiro imagem arquivo immagine plik "
    "grafika bestand afbeelding файл изображение зображення картинка слика датотека слика súbor soubor fájl "
    "kép fișier imagine dosya resim αρχείο εικόνα tiedosto kuva fil billede 파일 그림 ファイル 画像 文件 图像 "
    "檔案 圖像 ملف صورة پرونده קובץ תמונה चित्र tập_tin hình berkas gambar fail vaizdas attēls datoteka slika "
    "dosiero bitxategi irudi"
)
_CATEGORY = (
    "category kategorie catégorie categoría categoria kategoria categorie категория категорія категорија "
    "kategória kategori κατηγορία luokka 분류 カテゴリ 分类 分類 تصنيف رده קטגוריה श्रेणी thể_loại kategorija "
    "kategorio kategooria kategória"
)
_DROPPED_LINKS = frozenset(f"{_FILE} {_CATEGORY}".split())
_QUOTES = re.compile(r"''+(?!s\b)|''(?='s\b)")  # italics never closed; of Hamlet'''s the apostrophe stays
_INTERLANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z-]{2,12})?|simple")
_DROPPED_TAGS = frozenset(
    {"ref", "references", "table", "gallery", "timeline", "imagemap", "score", "graph", "section"}
)
_DROPPED_TAGS |= {"templatestyles", "hiero", "mapframe", "maplink", "categorytree", "inputbox", "indicator"}
_DROPPED_TAGS |= {"includeonly", "noinclude"}
_CODE_TAGS = frozenset({"pre", "syntaxhighlight", "source"})
_VERBATIM_TAGS = frozenset({"math", "chem", "nowiki", "code"})
_LINE_TAGS = frozenset(
    {"p", "div", "blockquote", "center", "poem", "ul", "ol", "dl", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6"}
)
# Templates that stand for running text, and which parameters they show.
_SHOWN: dict[str, Callable[[list[str]], str]] = {
    **dict.fromkeys(("nowrap", "nobr", "nobold", "small", "quote", "blockquote", "centre", "center"), lambda p: p[0]),
    **dict.fromkeys(("lang", "lang-x", "langx", "transl", "transliteration"), lambda p: p[-1]),
    **dict.fromkeys(("convert", "cvt"), lambda p: " ".join(p[:2])),
    **dict.fromkeys(("ndash", "–", "en dash"), lambda p: "–"),
    **dict.fromkeys(("snd", "spaced ndash", "spnd", "dash", "mdash", "—", "em dash"), lambda p: " – "),
    **dict.fromkeys(("'", "`s", "'s"), lambda p: "'"),
    **dict.fromkeys(("!",), lambda p: "|"),
    "frac": lambda p: "/".join(p),
    "abbr": lambda p: p[0],
}


# Marks for what `tidy` must still tell apart; XML allows none of these characters in a page.
HEADING, BULLET, INDENT, LITERAL = "\x01", "\x02", "\x03", "\x04"
_NO_MARKS = dict.fromkeys(range(5))


class _Wikicode(Protocol):
    nodes: Iterable[object]


def wikitext_text(wikitext: str) -> str:
    """The text of a page. Raises UnreadableError("wikitext") where parsing could take more than some seconds."""
    import mwparserfromhell

    if work(wikitext) > MAX_WORK:
        raise UnreadableError("wikitext")
    try:
        code = mwparserfromhell.parse(_marked(wikitext))
    except (mwparserfromhell.parser.ParserError, RecursionError):
        raise UnreadableError("wikitext") from None
    return tidy("".join(_shown(code)))


def _marked(wikitext: str) -> str:
    """Headings marked and comments gone: of many `=` on one line the parser would recurse until the stack is full."""
    lines = _COMMENT.sub("", wikitext.translate(_NO_MARKS)).split("\n")
    for index, line in enumerate(lines):
        if line.startswith("="):
            line = line.rstrip()
            level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), (len(line) - 1) // 2, 6)
            lines[index] = f"{HEADING}{level}{line[level:-level].strip()}" if level > 0 else f"{INDENT}{line}"
    return "\n".join(lines)


_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<open>\{\{|\[\[|\{\||<!--|\[(?=//|[a-zA-Z]+:))|(?P<shut>\}\}|\]\]|\|\}(?!\})|-->|\])"
    r"|(?P<list>^[*#:;]+)|<(?P<slash>/?)(?P<tag>[a-zA-Z]+)(?P<rest>[^<>]*)(?P<end>>?)|(?P<part>''+|\||!!|^-{4})",
    re.MULTILINE,
)
_OPEN_QUOTE = re.compile(r"=\s*(?:\"[^\"]*|'[^']*)\Z")  # of an attribute
_PARTNER = {"}}": "{{", "]]": "[[", "|}": "{|", "-->": "<!--", "]": "["}
_VOID = frozenset({"br", "hr", "wbr", "li", "dt", "dd", "td", "th", "tr", "img", "meta", "link"})


def work(wikitext: str) -> int:
    """An estimate of the parser's work: its length for each construct left open or nested unusually deep, and marks.

    A construct is left open, too, where one around it is closed first.
    """
    opened: list[str] = []
    depth: Counter[str] = Counter()  # of the opened
    left = deepest = marks = parts = 0
    for match in _TOKEN.finditer(wikitext):
        if match["list"]:
            marks += match.end() - match.start()
            continue
        if match["part"]:
            parts += 1
            continue
        marks += 1
        name, step = _step(match)
        if step > 0:
            opened.append(name)
            depth[name] += 1
            deepest = max(deepest, depth[name])
        elif step < 0 and depth[name]:
            while (last := opened.pop()) != name:
                depth[last] -= 1
                left += 1
            depth[name] -= 1
    passes = 1 + left + len(opened) + max(deepest - 20, 0)
    return len(wikitext) * passes + WORK_A_MARK * marks + WORK_A_PART * parts


def _step(match: re.Match[str]) -> tuple[str, int]:
    """What a mark opens (1) or closes (-1)."""
    if match["open"]:
        return match["open"], 1
    if match["shut"]:
        return _PARTNER[match["shut"]], -1
    if not match["end"] or _OPEN_QUOTE.search(match["rest"]):
        return "<", 1
    name = match["tag"].lower()
    return ("", 0) if name in _VOID or match["rest"].endswith("/") else (name, -1 if match["slash"] else 1)


def _shown(code: _Wikicode) -> Iterator[str]:
    """What a reader of the page would see, node by node; the parser bounds the depth (its MAX_DEPTH)."""
    from mwparserfromhell import nodes

    for node in code.nodes:
        if isinstance(node, nodes.Text):
            yield _QUOTES.sub("", str(node.value))
        elif isinstance(node, nodes.Wikilink):
            yield _link(node)
        elif isinstance(node, nodes.Tag):
            yield _tag(node)
        elif isinstance(node, nodes.ExternalLink):
            yield _external(node)
        elif isinstance(node, nodes.HTMLEntity):
            yield html.unescape(str(node))  # the node's own `normalize` gives control characters and half surrogates
        elif isinstance(node, nodes.Template):
            yield _template(node)
        elif isinstance(node, nodes.Argument) and node.default is not None:
            yield "".join(_shown(node.default))


def _link(node: object) -> str:
    title, text = str(node.title).strip(), node.text  # type: ignore[attr-defined]
    prefix, colon, _ = title.partition(":")
    if colon and prefix:
        space = prefix.strip().lower().replace(" ", "_")
        if space in _DROPPED_LINKS or (text is None and _INTERLANGUAGE.fullmatch(space)):
            return ""
    if text is not None and str(text).strip():
        return "".join(_shown(text))
    shown = html.unescape(title.removeprefix(":"))
    if text is not None and shown.endswith(")"):  # the pipe trick: [[Mercury (planet)|]]
        shown = shown.rpartition("(")[0].rstrip()
    return shown


def _external(node: object) -> str:
    title = node.title  # type: ignore[attr-defined]
    if title is not None:
        return "".join(_shown(title))
    return "" if node.brackets else str(node.url)  # type: ignore[attr-defined]


def _tag(node: object) -> str:
    name = str(node.tag).strip().lower()  # type: ignore[attr-defined]
    if name in _DROPPED_TAGS:
        return ""
    if node.wiki_markup and name in ("li", "dt", "dd"):  # type: ignore[attr-defined]
        return BULLET if name == "li" else INDENT
    if name in ("br", "hr"):
        return "\n"
    contents = node.contents  # type: ignore[attr-defined]
    if name in _CODE_TAGS:
        code = html.unescape("" if contents is None else str(contents))
        return "".join(f"\n{LITERAL}{line}" for line in code.split("\n")) + "\n"
    if name in _VERBATIM_TAGS:
        return html.unescape("" if contents is None else str(contents))
    inner = "" if contents is None else "".join(_shown(contents))
    if name == "li":
        return f"\n{BULLET}{inner.strip()}\n"
    return f"\n{inner}\n" if name in _LINE_TAGS else inner


def _template(node: object) -> str:
    name = str(node.name).strip().lower().replace("_", " ")  # type: ignore[attr-defined]
    show = _SHOWN.get("lang-x" if re.fullmatch(r"lang-[a-z-]{2,8}", name) else name)
    if show is None:
        return ""
    params = node.params  # type: ignore[attr-defined]
    values = [
        "".join(_shown(each.value)).strip() for each in params if not each.showkey or str(each.name).strip() == "1"
    ]
    return show(values or [""])


_MAGIC_WORD = re.compile(r"__[A-Z]{3,25}__")
_LEFTOVER = re.compile(
    r"\||\{\||\}\}|!.*!!|\[\[[^\[\]|:]+:"
)  # a line of a table, template or image that was never closed
_REF = re.compile(r"<ref\b[^<>]*>", re.IGNORECASE)
_REF_END = re.compile(r"</ref>", re.IGNORECASE)
_STRAY_TAG = re.compile(r"</?(?:ref|references|span|div|small|center|nowiki)\b[^<>]*>", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\u00a0\u2002-\u200a\u202f]+")
_EMPTY_BRACKETS = re.compile(r" ?\((?:[ ,;:/–-]|\bor\b)*\)| ?\[[ ,;]*\](?!\()")
_BRACKET_START = re.compile(r"\([ ,;:]+(?=[^ ,;:])")
_BRACKET_END = re.compile(r"(?<![ ,;:])[ ,;:]+\)")
_BEFORE_STOP = re.compile(r" ([,.])(?= |$)")
_MARKS = re.compile(f"[ {BULLET}{INDENT}]*")
_DEFINED = re.compile(f" ?{INDENT} ?")  # of `; term : meaning` the colon
_ANY_MARK = re.compile(f"[{HEADING}{BULLET}{INDENT}{LITERAL}]")


def tidy(shown: str) -> str:
    """Blank lines between paragraphs, headings with something below them, lists as `- ` lines."""
    blocks: list[tuple[int, str]] = []  # level (0: text) and line
    for raw in shown.split("\n"):
        level, line = _line(raw)
        while level and blocks and (not blocks[-1][1] or blocks[-1][0] >= level):
            blocks.pop()  # blank lines, and headings that turned out to stand over nothing
        if line or not level:
            blocks.append((level, line))
    while blocks and (blocks[-1][0] or not blocks[-1][1]):
        blocks.pop()
    return _joined(blocks)


def _line(raw: str) -> tuple[int, str]:
    if raw.startswith(LITERAL):
        return 0, _ANY_MARK.sub("", raw).rstrip()
    level = int(raw[1]) if raw.startswith(HEADING) else 0
    raw = raw[2:] if level else raw
    marks = _MARKS.match(raw)
    assert marks is not None
    line = _cleaned(_ANY_MARK.sub("", _DEFINED.sub(": ", raw[marks.end() :])))
    return level, f"- {line}" if line and BULLET in marks[0] and not level else line


def _cleaned(line: str) -> str:
    """A line less what the parser could not place, and less the gaps that dropped templates leave."""
    line = line.strip()
    if _LEFTOVER.match(line):
        return ""
    line = _SPACES.sub(" ", _without_tags(_MAGIC_WORD.sub("", line)))
    line = _BRACKET_START.sub("(", _BRACKET_END.sub(")", _EMPTY_BRACKETS.sub("", line)))
    return _BEFORE_STOP.sub(r"\1", line).strip()


def _without_tags(line: str) -> str:
    """Less references and tags that were text to the parser. Of many references never closed, each is seen once."""
    *closed, last = _REF_END.split(line)
    return _STRAY_TAG.sub("", "".join(_REF.split(part, 1)[0] for part in closed) + last)


def _joined(blocks: Iterable[tuple[int, str]]) -> str:
    """Headings stand between blank lines; of several blank lines one stays."""
    lines: list[str] = []
    for level, line in blocks:
        if (level or not line) and lines and lines[-1]:
            lines.append("")
        if line:
            lines.append(line)
        if level and line:
            lines.append("")
    return "\n".join(lines).strip("\n")
