"""Strings from outside on real pages: whatever they hold, a page has the elements that it has with harmless ones.

Each page is drawn twice: with a string of dangerous characters in every name, host, URL, reason and text, and with as
many harmless ones. Verified to fail if `page.escape` returns its text as markup, or leaves one of the kinds out.
"""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from corpus.display.page import escape
from corpus.display.terminal import plain_console, print_line, printable, table
from corpus.inspect.diff.compare import BuildDiff, compare_builds
from corpus.inspect.diff.show_diff import diff_page
from corpus.inspect.report.collect import collect
from corpus.inspect.report.report_page import report_page
from corpus.inspect.report.summary import Summary
from tests import made_report
from tests.browser import needs_chromium, open_page
from tests.other_build import other_built
from tests.small_build import built
from tests.trainer.inspect.test_run_page import baselines, curriculum, evaluation, steps, write_report

PLACE = "qzq"  # stands for the string in summaries and differences
C0 = "".join(map(chr, (*range(0x20), 0x7F)))
C1 = "".join(map(chr, range(0x80, 0xA0)))
SEPARATORS = "\u2028\u2029"
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
MARKUP = "</title></style></script><script>window.pwned=1</script><!-- ]]> <![CDATA[ <?x &lt; &#0; {{ 7*7 }} {% x %}"
QUOTES = "\"'`><img src=x onerror='window.pwned=2'> style=\"color:red\" x="
KINDS = {"C0": C0, "C1": C1, "separators": SEPARATORS, "bidi": BIDI, "markup": MARKUP, "quotes": QUOTES}
KINDS = {kind: "x" * 41 + text for kind, text in KINDS.items()}  # as long as what tables wrap
SURROGATES = "\ud800\udbff\udc00\udfff\udc00\ud800"
UNSHOWN = re.compile(f"[\x00-\x09\x0b-\x1f\x7f-\x9f{SEPARATORS}{BIDI}\ud800-\udfff]")


def harmless(text: str) -> str:
    """Return a text with the same lines of the same lengths."""
    return re.sub("[^\r\n]", "x", text)


class Elements(HTMLParser):
    """Elements of a page with all their attributes, and its text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", []))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    unknown_decl = handle_pi = handle_comment


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """JSON of a summary with the place in all strings from outside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_report, "HOSTILE", PLACE)
        patch.setattr(made_report, "HOSTS", tuple(f"{name}{PLACE}.example" for name in "abcd"))
        evidence = made_report.make_evidence(tmp_path_factory.mktemp("made"), (f"books{PLACE}", f"web{PLACE}"), 60)
        text = collect(evidence).text()
    named = text.replace('"made"', f'"made{PLACE}"').replace("pages.warc.gz", f"pages{PLACE}.warc.gz")
    return named.replace('"prose.', f'"prose{PLACE}.').replace('"CC-BY-4.0"', f'"CC-BY-{PLACE}"')


@pytest.fixture(scope="module")
def difference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """JSON of a difference with the place in strings of every kind."""
    base = tmp_path_factory.getbasetemp()
    found = compare_builds(built(base), other_built(base)).model_dump(mode="json")
    found["name_a"] = found["folder_b"] = f"tiny{PLACE}"
    for setting in found["settings"]:
        setting["path"] += PLACE
        setting["a"] = f"{setting['a']}{PLACE}"
    for source in found["sources"]:
        source["name"] += PLACE
        for move in source["moves"]:
            move["b"] += PLACE
            for example in move["examples"]:
                example |= {"url": f"https://{PLACE}/", "origin": f"{PLACE}@7", "excerpt": f"text {PLACE} of it"}
    return json.dumps(found)


def with_string(model: str, text: str) -> str:
    return model.replace(PLACE, json.dumps(text)[1:-1])


def drawn(page: str, text: str, summary: str, difference: str, folder: Path) -> str:
    """Return the markup of a page with the string in it."""
    if page == "report":
        return report_page(Summary.model_validate_json(with_string(summary, text)))
    if page == "diff":
        return diff_page(BuildDiff.model_validate_json(with_string(difference, text)))
    names, samples = ("books", f"web{text}"), [(f"prompt {text}", f"{text} generated")]
    rows = [evaluation(0, f"before{text}", dict.fromkeys(names, 4.0)), evaluation(36, f"z{text}", {"books": 2.0})]
    phases, scores = curriculum(**{f"p{text}": 40}), baselines(books=(2.5, 2.2))
    return write_report(folder, f"run{text}", phases, steps(36, *names), rows, scores, samples).read_bytes().decode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", ["report", "diff", "run"])
def test_a_page_has_the_elements_that_it_has_with_harmless_strings(
    page: str, kind: str, summary: str, difference: str, tmp_path: Path
) -> None:
    text = KINDS[kind]
    markup = drawn(page, text, summary, difference, tmp_path)
    plain = Elements(drawn(page, harmless(text), summary, difference, tmp_path))
    found = Elements(markup)
    assert found.elements == plain.elements
    assert not UNSHOWN.search(markup)
    assert found.text != plain.text and (UNSHOWN.search(text) is None) == (text in found.text)


@needs_chromium
@pytest.mark.parametrize("page", ["report", "diff", "run"])
def test_a_browser_runs_nothing_and_draws_every_chart(page: str, summary: str, difference: str, tmp_path: Path) -> None:
    text = "".join(KINDS.values()).replace("\n", "").replace("\r", "")
    charts = []
    for string in (text, harmless(text)):
        path = tmp_path / f"{len(charts)}.html"
        path.write_text(drawn(page, string, summary, difference, tmp_path), encoding="utf-8", newline="")
        opened = open_page(path)
        assert opened.messages == [] and opened.requests == [path.as_uri()] and opened.pwned is None
        charts.append((opened.drawn, opened.elements))
    assert charts[0] == charts[1]


@pytest.mark.parametrize("text", [*KINDS.values(), SURROGATES])
def test_markup_and_terminal_show_a_string_without_its_effects(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not UNSHOWN.search(escape(text).replace("\n", " ")) and "<" not in escape(text)
    assert not UNSHOWN.search(printable(text)) and "\n" not in printable(text)
    console = plain_console(4000)
    console.print(table([text, "b"], [[text, text], [1, 2]], title="t"), crop=False)
    print_line(console, text)
    shown = capsys.readouterr().out
    shown.encode()
    assert not UNSHOWN.search(shown) and shown.count(printable(text)) == 4
