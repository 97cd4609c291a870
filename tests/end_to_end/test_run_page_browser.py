"""The page of a run in a real browser: it draws, fits, asks for nothing and runs nothing foreign."""

import pytest

from tests.browser import Opened, needs_chromium, open_page
from tests.trainer.inspect.test_run_page import HOSTILE, baselines, curriculum, evaluation, steps, write

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Page of a run with a hostile source, and with phases whose names are hostile and long."""
    folder = tmp_path_factory.mktemp("run")
    names = ("books", HOSTILE, "n" * 60)
    rows = [evaluation(0, "before", dict.fromkeys(names, 4.0)), evaluation(36, HOSTILE, {"books": 2.0})]
    phases = curriculum(**{HOSTILE: 30, "p" * 60: 10})
    write(folder, steps(36, *names), rows, baselines(books=(2.5, 2.2)), phases)
    return open_page(folder / "report.html")


def test_it_draws_without_requests_and_complaints(opened: Opened) -> None:
    assert len(opened.requests) == 1 and opened.messages == []
    small = [f"{kind}-{n}" for kind, count in (("bits", 4), ("source", 3), ("measured", 2)) for n in range(count)]
    assert set(opened.drawn) == {"loss", "rate", *small}
    assert min(opened.drawn.values()) > 2


def test_nothing_foreign_ran_or_became_markup(opened: Opened) -> None:
    assert opened.pwned is None and opened.elements["script"] == 0
    assert HOSTILE in opened.labels["loss"] and "p" * 60 in opened.labels["loss"]
    assert any(title.startswith(HOSTILE) for title in opened.titles["bits-0"])


def test_it_fits_the_screen_and_the_paper(opened: Opened) -> None:
    assert opened.too_wide == {}
