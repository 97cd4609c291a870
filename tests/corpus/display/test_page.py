"""The frame of a page: closed to everything from outside, and the same bytes each time."""

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from jinja2 import UndefinedError

from corpus.display import page
from corpus.display.data_table import DataTable
from corpus.display.drawing import Box, ChartRow, Curve
from corpus.inspect.diff.changed_documents import MovedDocument
from corpus.inspect.report.summary import Excerpt

MACROS: Any = page.templates().get_template("macros.html").module
HOSTILE = "</script><script>window.pwned=1</script><!--\"'&\u2028\x00\x1b[31m\ud800\u202e"

ROW = ChartRow(
    HOSTILE,
    HOSTILE,
    [Box(0, 1, "#fff", HOSTILE, label=HOSTILE)],
    labels=[(0, 0, HOSTILE)],
    curves=[Curve([(0, 0), (1, 1)], "#fff", 1, dotted=True)],
    scale=[(0, HOSTILE)],
)
CHART = MACROS.bars("a", [ROW], HOSTILE, {HOSTILE: page.INK})

# An id with a lone surrogate would be no valid model.
ORIGIN: Any = dict.fromkeys(("id", "url", "origin"), HOSTILE.replace("\ud800", ""))


def policy(markup: str) -> dict[str, str]:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', markup)
    assert found
    return {name: value for name, _, value in (each.partition(" ") for each in re.split(r";\s", found[1]))}


def test_policy_lets_nothing_in_but_our_own_style() -> None:
    markup = page.page("t", CHART)
    rules = policy(markup)
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    (style,) = re.findall("<style>(.*?)</style>", markup, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in " ".join(rules.values())


def test_page_has_no_script_at_all() -> None:
    for content in (CHART, MACROS.foreign("text"), in_template("<details></details>")):
        markup = page.page("t", content)
        assert "<script" not in markup
        assert policy(markup)["script-src"] == "'none'"


def test_nothing_is_loaded_by_address() -> None:
    markup = page.page("t", CHART + MACROS.table(["a"], [["https://example.org"]]))
    assert not re.search(r"<(link|img|iframe|object|embed|base|form)\b", markup)
    assert not re.search(r"<[^>]*\s(src|href|action|data|poster)\s*=", markup)
    assert "@import" not in markup and "url(" not in markup
    assert re.findall("https?:[^<]*", markup) == ["https://example.org"]


def in_template(source: str, **values: object) -> str:
    """Render a template of a page."""
    return page.templates().from_string(source).render(**values)


@pytest.mark.parametrize(
    "markup",
    [
        page.escape(HOSTILE),
        MACROS.data_table(DataTable(HOSTILE, [HOSTILE], [[HOSTILE]], marked=HOSTILE, note=HOSTILE)),
        CHART,
        MACROS.foreign(HOSTILE),
        MACROS.document_card(
            HOSTILE, Excerpt(**ORIGIN, source="a", from_word=1, pieces=((ORIGIN["id"], True),), more=True)
        ),
        MACROS.document_card(MACROS.foreign(HOSTILE), MovedDocument(**ORIGIN, excerpt=ORIGIN["id"])),
        MACROS.passage([(HOSTILE, True), (HOSTILE, False)]),
        MACROS.legend({HOSTILE: page.INK}),
        MACROS.tiles([(HOSTILE, HOSTILE, HOSTILE)]),
        MACROS.table([HOSTILE], [[HOSTILE]]),
        in_template("<code title='{{ text }}'>{{ text }}</code>{{ [text] }}{{ {text: text} }}", text=HOSTILE),
        in_template("{% set inner %}<b>{{ text }}</b>{% endset %}{{ inner }}{{ text | upper }}", text=HOSTILE),
        in_template("{{ [text, text] | join(', ') }}{{ '%s' % text }}{{ text ~ text }}", text=HOSTILE),
    ],
)
def test_hostile_text_stays_text_wherever_it_stands(markup: str) -> None:
    assert "<script" not in markup and "<!--" not in markup and "</script" not in markup
    assert not re.search("[\x00-\x09\x0b-\x1f\ud800-\udfff]", markup)
    markup.encode()


def test_text_of_a_chart_reads_back_as_it_was() -> None:
    svg = ET.fromstring(str(MACROS.drawing(ROW)))
    expected = re.sub("[\x00\x1b\ud800]", "\ufffd", HOSTILE)
    assert [element.text for element in svg.iter() if element.tag in ("text", "title")] == [expected] * 4


def test_control_characters_are_shown_as_replaced() -> None:
    assert page.escape("a\x00b\x1bc\x9fd\ud800e") == "a\ufffdb\ufffdc\ufffdd\ufffde"


def test_table_aligns_figures_and_groups_thousands() -> None:
    markup = MACROS.table(["name", "count"], [["a", 1234567]])
    assert '<td>a</td><td class="n">1,234,567</td>' in markup


def test_a_passage_keeps_its_lines_and_marks() -> None:
    shown = MACROS.passage([("a\r\nb\rc", True), ("\td\n", False)])
    assert shown == '<bdi dir="auto" class="passage"><mark>a\nb\nc</mark>\ufffdd\n</bdi>'


def test_a_mistake_in_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        in_template("{{ text.misspelt }}", text=HOSTILE)
