"""The page of `corpus diff` in a real browser: it draws, fits, prints, asks for nothing and runs nothing foreign."""

from pathlib import Path

import pytest

from corpus.inspect.diff.changed_documents import MovedDocument
from corpus.inspect.diff.compare import BuildDiff, compare_builds
from corpus.inspect.diff.show_diff import diff_page
from tests.browser import Opened, needs_chromium, open_page
from tests.other_build import other_built
from tests.small_build import built

pytestmark = needs_chromium
HOSTILE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2>"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> BuildDiff:
    """Of two small builds, one source of which has a hostile name, fate and example."""
    base = tmp_path_factory.getbasetemp()
    real = compare_builds(built(base), other_built(base))
    web = real.sources[1]
    example = MovedDocument(id="0" * 32, origin=HOSTILE, url=f"javascript:{HOSTILE}", excerpt=HOSTILE * 3)
    move = web.moves[0].model_copy(update={"b": HOSTILE, "examples": (example,)})
    evil = web.model_copy(update={"name": f"evil {HOSTILE}", "moves": (move, *web.moves)})
    setting = real.settings[0].model_copy(update={"path": f"{HOSTILE}.{'x' * 400}", "a": HOSTILE * 20})
    return real.model_copy(
        update={"name_a": HOSTILE, "settings": (setting, *real.settings), "sources": (real.sources[0], evil)}
    )


@pytest.fixture(scope="module")
def path(found: BuildDiff, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diff") / "diff.html"
    path.write_text(diff_page(found), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(path: Path) -> Opened:
    return open_page(path)


def test_it_asks_for_itself_only_and_complains_of_nothing(opened: Opened, path: Path) -> None:
    assert opened.requests == [path.as_uri()]
    assert opened.messages == []


def test_it_fits_the_screen_and_the_paper(opened: Opened) -> None:
    assert opened.too_wide == {}
    assert opened.sheets >= 2 and opened.folded_when_printed == 0


def test_nothing_foreign_ran_or_became_markup(opened: Opened) -> None:
    assert opened.pwned is None and not opened.links
    assert {"img", "iframe", "object", "embed", "link"} & set(opened.elements) == set()
    assert opened.elements["script"] == 0
    assert HOSTILE in opened.text and f"javascript:{HOSTILE}" in opened.text


def test_the_tables_show_the_numbers(opened: Opened, found: BuildDiff) -> None:
    source = found.sources[0]
    for each in source.counts:
        if each.difference:
            assert f"{each.a:,}" in opened.text and f"{each.difference:+,}".replace("-", "−") in opened.text
    for move in source.moves:
        assert move.a in opened.text and f"{move.documents:,}" in opened.text
        assert all(example.id in opened.text for example in move.examples)
