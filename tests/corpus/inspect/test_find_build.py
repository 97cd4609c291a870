"""The report that `corpus report` opens, with and without a browser."""

import webbrowser
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.inspect.find_build import show_report


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses opened in a browser, on a machine with a screen."""
    addresses: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: addresses.append(address) or True)
    return addresses


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text("page")
    return path


def test_the_page_is_opened_in_a_browser(page: Path, opened: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    show_report(page.parent, open_browser=True)
    assert opened == [page.as_uri()] and str(page) in capsys.readouterr().out


def test_the_path_is_printed_instead(page: Path, opened: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    show_report(page.parent, open_browser=False)
    assert opened == [] and capsys.readouterr().out == f"{page}\n"


def test_without_a_screen_no_browser_is_started(
    page: Path, opened: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    show_report(page.parent, open_browser=True)
    assert opened == [] and capsys.readouterr().out == f"{page}\n"


def test_a_browser_that_does_not_start_leaves_the_path(
    page: Path, opened: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    show_report(page.parent, open_browser=True)
    assert capsys.readouterr().out == f"{page}\n"


def test_a_build_without_a_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="run `corpus build` again"):
        show_report(tmp_path, open_browser=False)
