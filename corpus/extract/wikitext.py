"""Wikitext to text: prose, headings and lists as lines; no templates, tables, references, images or categories.

Tables are dropped with their cells: nearly all of them hold figures or layout, and a row of cells is not prose.
Templates are dropped except for a few that stand for running text. The traces that they leave (empty brackets, doubled
spaces, headings with nothing below) are removed.
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from corpus.document import UnreadableError
from corpus.extract.headings import without_empty_headings

# The parser searches the end of each opened construct up to the end of the text, and takes up to 0.1 ms a mark.
# A page of 2 MiB, the most that MediaWiki saves, may leave 5 constructs open; at the bound, parsing takes 1 to 5 s.
MAX_WORK = 10_000_000
WORK_PER_MARK = 200
WORK_PER_SEPARATOR = 100  # a bar, quotes or a rule: up to 0.05 ms

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
_INTERLANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z-]{2,12})?|simple")
_NOT_PROSE = (
    "ref references table gallery timeline imagemap score graph section templatestyles hiero mapframe maplink "
    "categorytree inputbox indicator includeonly noinclude"
)
_DROPPED_TAGS = frozenset(_NOT_PROSE.split())
_CODE_TAGS = frozenset({"pre", "syntaxhighlight", "source"})
_VERBATIM_TAGS = frozenset({"math", "chem", "nowiki", "code"})
_LINE_TAGS = frozenset(
    {"p", "div", "blockquote", "center", "poem", "ul", "ol", "dl", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6"}
)
# Templates that stand for running text: their text as a function of their unnamed parameters.
_TEMPLATES: dict[str, Callable[[list[str]], str]] = {
    **dict.fromkeys(("nowrap", "nobr", "nobold", "small", "quote", "blockquote", "centre", "center"), lambda p: p[0]),
    **dict.fromkeys(("lang", "lang-x", "langx", "transl", "transliteration"), lambda p: p[-1]),
    **dict.fromkeys(("convert", "cvt"), lambda p: " ".join(p[:2])),
    **dict.fromkeys(("ndash", "–", "en dash"), lambda p: "–"),
    **dict.fromkeys(("snd", "spaced ndash", "spnd", "dash", "mdash", "—", "em dash"), lambda p: " – "),
    **dict.fromkeys(("'", "`s", "'s"), lambda p: "'"),
    "!": lambda p: "|",
    "frac": lambda p: "/".join(p),
    "abbr": lambda p: p[0],
}

# Marks at the start of rendered lines, for `_tidied`; XML allows none of these characters in a page.
HEADING, BULLET, INDENT, LITERAL = "\x01", "\x02", "\x03", "\x04"
_NO_MARKS = dict.fromkeys(range(5))


def wikitext_text(wikitext: str) -> str:
    """Return the text of a page. Raises UnreadableError("wikitext") if parsing might take more than some seconds."""
    import mwparserfromhell

    if _parser_work(wikitext) > MAX_WORK:
        raise UnreadableError("wikitext")
    try:
        code = mwparserfromhell.parse(_with_marked_headings(wikitext))
    except (mwparserfromhell.parser.ParserError, RecursionError):
        raise UnreadableError("wikitext") from None
    return _tidied("".join(_rendered(code)))


_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CONSTRUCT = re.compile(
    r"(?P<open>\{\{|\[\[|\{\||<!--|\[(?=//|[a-zA-Z]+:))|(?P<close>\}\}|\]\]|\|\}(?!\})|-->|\])"
    r"|(?P<list>^[*#:;]+)|<(?P<slash>/?)(?P<tag>[a-zA-Z]+)(?P<rest>[^<>]*)(?P<end>>?)|(?P<separator>''+|\||!!|^-{4})",
    re.MULTILINE,
)
_OPEN_QUOTE = re.compile(r"=\s*(?:\"[^\"]*|'[^']*)\Z")  # of an attribute
_OPENING = {"}}": "{{", "]]": "[[", "|}": "{|", "-->": "<!--", "]": "["}
_VOID = frozenset({"br", "hr", "wbr", "li", "dt", "dd", "td", "th", "tr", "img", "meta", "link"})


def _with_marked_headings(wikitext: str) -> str:
    """Mark headings and remove comments: on many `=` in one line the parser would recurse until the stack is full."""
    lines = _COMMENT.sub("", wikitext.translate(_NO_MARKS)).split("\n")
    for index, line in enumerate(lines):
        if line.startswith("="):
            line = line.rstrip()
            level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), (len(line) - 1) // 2, 6)
            lines[index] = f"{HEADING}{level}{line[level:-level].strip()}" if level > 0 else f"{INDENT}{line}"
    return "\n".join(lines)


def _parser_work(wikitext: str) -> int:
    """Estimate the parser's work: a pass for each construct left open or nested unusually deep, and the marks.

    A construct is also left open if one around it is closed first.
    """
    opened: list[str] = []
    depth: Counter[str] = Counter()  # open constructs of each kind
    unclosed = deepest = marks = separators = 0
    for match in _CONSTRUCT.finditer(wikitext):
        if match["list"]:
            marks += match.end() - match.start()
            continue
        if match["separator"]:
            separators += 1
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
                unclosed += 1
            depth[name] -= 1
    passes = 1 + unclosed + len(opened) + max(deepest - 20, 0)
    return len(wikitext) * passes + WORK_PER_MARK * marks + WORK_PER_SEPARATOR * separators


def _step(match: re.Match[str]) -> tuple[str, int]:
    """Return the construct that a mark opens (1) or closes (-1)."""
    if match["open"]:
        return match["open"], 1
    if match["close"]:
        return _OPENING[match["close"]], -1
    if not match["end"] or _OPEN_QUOTE.search(match["rest"]):
        return "<", 1
    name = match["tag"].lower()
    return ("", 0) if name in _VOID or match["rest"].endswith("/") else (name, -1 if match["slash"] else 1)


# Italics that were never closed; the apostrophe of Hamlet'''s stays.
_QUOTES = re.compile(r"''+(?!s\b)|''(?='s\b)")


def _rendered(code: Any) -> Iterator[str]:
    """Yield the visible text of parsed wikitext, node by node; the parser bounds the depth (its MAX_DEPTH)."""
    from mwparserfromhell import nodes

    for node in code.nodes:
        if isinstance(node, nodes.Text):
            yield _QUOTES.sub("", str(node.value))
        elif isinstance(node, nodes.Wikilink):
            yield _link(node)
        elif isinstance(node, nodes.Tag):
            yield _tag(node)
        elif isinstance(node, nodes.ExternalLink):
            if node.title is not None:
                yield from _rendered(node.title)
            elif not node.brackets:
                yield str(node.url)
        elif isinstance(node, nodes.HTMLEntity):
            yield html.unescape(str(node))  # the node's own `normalize` gives control characters and half surrogates
        elif isinstance(node, nodes.Template):
            yield _template(node)
        elif isinstance(node, nodes.Argument) and node.default is not None:
            yield from _rendered(node.default)


def _link(node: Any) -> str:
    title, text = str(node.title).strip(), node.text
    prefix, colon, _ = title.partition(":")
    if colon and prefix:
        namespace = prefix.strip().lower().replace(" ", "_")
        if namespace in _DROPPED_LINKS or (text is None and _INTERLANGUAGE.fullmatch(namespace)):
            return ""
    if text is not None and str(text).strip():
        return "".join(_rendered(text))
    page = html.unescape(title.removeprefix(":"))
    if text is not None and page.endswith(")"):  # the pipe trick: [[Mercury (planet)|]]
        page = page.rpartition("(")[0].rstrip()
    return page


def _tag(node: Any) -> str:
    name = str(node.tag).strip().lower()
    if name in _DROPPED_TAGS:
        return ""
    if node.wiki_markup and name in ("li", "dt", "dd"):
        return BULLET if name == "li" else INDENT
    if name in ("br", "hr"):
        return "\n"
    if name in _CODE_TAGS | _VERBATIM_TAGS:
        source = html.unescape("" if node.contents is None else str(node.contents))
        if name in _VERBATIM_TAGS:
            return source
        return "".join(f"\n{LITERAL}{line}" for line in source.split("\n")) + "\n"
    contents = "" if node.contents is None else "".join(_rendered(node.contents))
    if name == "li":
        return f"\n{BULLET}{contents.strip()}\n"
    return f"\n{contents}\n" if name in _LINE_TAGS else contents


def _template(node: Any) -> str:
    name = str(node.name).strip().lower().replace("_", " ")
    render = _TEMPLATES.get("lang-x" if re.fullmatch(r"lang-[a-z-]{2,8}", name) else name)
    if render is None:
        return ""
    unnamed = (param for param in node.params if not param.showkey or str(param.name).strip() == "1")
    return render(["".join(_rendered(param.value)).strip() for param in unnamed] or [""])


_MAGIC_WORD = re.compile(r"__[A-Z]{3,25}__")
_LEFTOVER = re.compile(r"\||\{\||\}\}|!.*!!|\[\[[^\[\]|:]+:")  # of a table, template or image that was never closed
_REF = re.compile(r"<ref\b[^<>]*>", re.IGNORECASE)
_REF_END = re.compile(r"</ref>", re.IGNORECASE)
_STRAY_TAG = re.compile(r"</?(?:ref|references|span|div|small|center|nowiki)\b[^<>]*>", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\u00a0\u2002-\u200a\u202f]+")
_EMPTY_BRACKETS = re.compile(r" ?\((?:[ ,;:/–-]|\bor\b)*\)| ?\[[ ,;]*\](?!\()")
_BRACKET_START = re.compile(r"\([ ,;:]+(?=[^ ,;:])")
_BRACKET_END = re.compile(r"(?<![ ,;:])[ ,;:]+\)")
_BEFORE_STOP = re.compile(r" ([,.])(?= |$)")
_LIST_MARKS = re.compile(f"[ {BULLET}{INDENT}]*")
_DEFINITION = re.compile(f" ?{INDENT} ?")  # the colon of `; term : meaning`
_ANY_MARK = re.compile(f"[{HEADING}{BULLET}{INDENT}{LITERAL}]")
_BLANK_LINES = re.compile(r"\n{3,}")


def _tidied(rendered: str) -> str:
    """Put headings between blank lines, drop those with nothing below, keep one of several blank lines."""
    lines = without_empty_headings(_line(raw) for raw in rendered.split("\n"))
    text = "\n".join(f"\n{line}\n" if level else line for level, line in lines)
    return _BLANK_LINES.sub("\n\n", text).strip("\n")


def _line(raw: str) -> tuple[int, str]:
    """Return the heading level (0: text) and the text of a rendered line; list items begin with `- `."""
    if raw.startswith(LITERAL):
        return 0, _ANY_MARK.sub("", raw).rstrip()
    level = int(raw[1]) if raw.startswith(HEADING) else 0
    raw = raw[2:] if level else raw
    marks = _LIST_MARKS.match(raw)
    assert marks is not None
    line = _cleaned(_ANY_MARK.sub("", _DEFINITION.sub(": ", raw[marks.end() :])))
    return level, f"- {line}" if line and BULLET in marks[0] and not level else line


def _cleaned(line: str) -> str:
    """Remove markup that the parser could not place, and the gaps that dropped templates leave."""
    line = line.strip()
    if _LEFTOVER.match(line):
        return ""
    line = _MAGIC_WORD.sub("", line)
    # References and tags that were text to the parser. Split at their ends, many unclosed ones take linear time.
    *closed, last = _REF_END.split(line)
    line = _STRAY_TAG.sub("", "".join(_REF.split(piece, 1)[0] for piece in closed) + last)
    line = _BRACKET_START.sub("(", _BRACKET_END.sub(")", _EMPTY_BRACKETS.sub("", _SPACES.sub(" ", line))))
    return _BEFORE_STOP.sub(r"\1", line).strip()
