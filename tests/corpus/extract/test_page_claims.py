"""Robots directives and licenses of synthetic and real pages."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.document import Record
from corpus.extract.page_claims import claims, header_robots
from corpus.sources import common_crawl

NOTHING = {"robots_noai": 0, "robots_noindex": 0}
NOAI, NOINDEX = {**NOTHING, "robots_noai": 1}, {**NOTHING, "robots_noindex": 1}
BY_SA = "https://creativecommons.org/licenses/by-sa/4.0/"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", NOTHING),
        ("all, nofollow, noarchive", NOTHING),
        ("noindex", NOINDEX),
        ("NoIndex , nofollow", NOINDEX),
        ("none", NOINDEX),
        ("noai, noimageai", NOAI),
        ("noimageai", NOAI),
        ("noindex\nnoai", {"robots_noai": 1, "robots_noindex": 1}),
        ("googlebot: noindex, nofollow", NOTHING),
        ("googlebot: nofollow\nnoindex", NOINDEX),
        ("googlebot: nofollow, ccbot: noindex", NOINDEX),
        ("*: noai", NOAI),
        ("CCBot: noai", NOAI),
        ("max-snippet: 20, noindex", NOINDEX),
        ("unavailable_after: 25 Jun 2026 15:00:00 PST, noai", NOAI),
        ("unavailable_after: 25 Jun 2026 15:00:00 none", NOTHING),
        ("unavailable_after: Wed, 03 Dec 2025 13:09:53 GMT, noindex, noai", {"robots_noai": 1, "robots_noindex": 1}),
        ("unavailable_after: Wed, 03-Dec-25 13:09:53 GMT, noindex", NOINDEX),
        ("googlebot: unavailable_after: Wed, 03 Dec 2025 13:09:53 GMT, noindex", NOTHING),
        ("noindexes", NOTHING),
        ("otherbot/2.0: noindex", NOTHING),
        ("other bot: noindex", NOTHING),
        ("CCBot/2.0: noindex", NOTHING),
    ],
)
def test_robots_header_for_everyone_or_us(header: str, said: dict[str, int]) -> None:
    assert header_robots(header) == said


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<meta name=robots content=noindex>", NOINDEX),
        ("<META NAME='Robots' CONTENT='NOINDEX,FOLLOW' />", NOINDEX),
        ('<meta content="noai, noimageai" name="robots"/>', NOAI),
        ('<meta\nname = "ccbot"\ncontent = "no&#x6e;e">', NOINDEX),
        ('<meta name="googlebot" content="noindex">', NOTHING),
        ('<meta name="description" content="noindex">', NOTHING),
        ('<meta name="robots" content="max-image-preview: none">', NOTHING),
        ('<meta name="robots" content>', NOTHING),
        ('<metadata name="robots" content="noindex">', NOTHING),
        ('<!-- <meta name="robots" content="noindex"> -->', NOTHING),
        ('<script>"<meta name=robots content=noindex>"</script>', NOTHING),
        ("<textarea><meta name=robots content=noindex></textarea>", NOTHING),
        ('<script>x</SCRIPT><!--x--><meta name="robots" content="noindex">', NOINDEX),
        ('<meta name="robots" content="index"><p>x</p><meta name="robots" content="noai">', NOAI),
        ("<script><meta name=robots content=noindex>", NOTHING),
    ],
)
def test_robots_tags_of_a_page(page: str, said: dict[str, int]) -> None:
    assert dict(claims(page.encode(), {}).signals) == said
    assert dict(claims(page.encode("utf-16"), {}).signals) == said


def test_header_and_page_signals_are_combined() -> None:
    found = claims(b"<meta name=robots content=noai>", header_robots("noindex"))
    assert dict(found.signals) == {"robots_noai": 1, "robots_noindex": 1}


@pytest.mark.parametrize(
    ("page", "license_"),
    [
        (f'<a rel="license" href="{BY_SA}">', "cc-by-sa-4.0"),
        (f"<link href={BY_SA} rel='nofollow license'>", "cc-by-sa-4.0"),
        ('<link rel="license" href="//creativecommons.org/licenses/by-nc-nd/3.0/de/deed.en">', "cc-by-nc-nd-3.0"),
        (
            '<a rel="license" href="http://www.CreativeCommons.org/publicdomain/zero/1.0/">',
            None,
        ),  # its host in lower case
        ('<a rel="license" href="http://www.creativecommons.org/publicdomain/zero/1.0/">', "cc0-1.0"),
        ('<a rel="license" href="https://creativecommons.org/publicdomain/mark/1.0/">', "cc-pdm-1.0"),
        (f'<meta name="DC.rights" content="{BY_SA}">', "cc-by-sa-4.0"),
        (f'<a href="{BY_SA}"><img></a> <a href="{BY_SA}deed.fr">', "cc-by-sa-4.0"),  # one license, linked twice
        (f'<a href="{BY_SA}">a</a> <a href="https://creativecommons.org/licenses/by/2.0/">', None),  # which?
        (
            f'<a rel=license href="{BY_SA}">a</a> <a href="https://creativecommons.org/licenses/by/2.0/">',
            "cc-by-sa-4.0",
        ),
        (f'<link rel=license href="/terms"><a href="{BY_SA}">', None),  # it has another license, and links this
        (f'<a rel=license href="{BY_SA}"><a rel=license href="https://creativecommons.org/licenses/by/4.0/">', None),
        ('<a href="https://creativecommons.org/licenses/by-sa/">', None),  # of which version?
        ('<a href="https://creativecommons.org/licenses/by-sa/4.01/">', None),
        ('<a href="https://creativecommons.org/licenses/by-sasa/4.0/">', None),
        (f'<a href="https://mill.example/?to={BY_SA}">', None),
        (f"<p>{BY_SA}</p><!-- <a href={BY_SA}> --><script>'<a href={BY_SA}>'</script>", None),
    ],
)
def test_license_of_a_page(page: str, license_: str | None) -> None:
    assert claims(page.encode(), {}).license == license_


def of_real_pages(data: Path, name: str) -> dict[str, tuple[dict[str, int], str | None]]:
    """Return the claims of the pages that make any, by URL."""
    settings = common_crawl.CommonCrawlSettings(
        name="web", reader="common_crawl", paths=("x",), share=1.0, license="unknown"
    )
    found = {}
    for record in common_crawl.read(data / name, 0, sys.maxsize, settings):
        if isinstance(record, Record):
            page = claims(record.content, record.signals)
            if any(page.signals.values()) or page.license:
                found[str(record.url)] = (dict(page.signals), page.license)
    return found


def test_claims_of_real_pages(data: Path) -> None:
    found = of_real_pages(data, "web/pages-00000.warc.gz") | of_real_pages(data, "web/pages-00001.warc.gz")
    licensed = {url: license_ for url, (_, license_) in found.items() if license_}
    assert licensed == {"https://en.wikibooks.org/wiki/Cookbook:Pumpkin_Pie_I": "cc-by-sa-4.0"}
    assert sorted(url.split("/")[2] for url, (said, _) in found.items() if said == NOINDEX) == [
        *("bettybossi.ch", "cleaneatingkitchen.com", "theclevercarrot.com")
    ]
    assert sorted(url.split("/")[2] for url, (said, _) in found.items() if said == NOAI) == [
        *("chefsavvy.com", "cookieandkate.com", "theglutenfreeaustrian.com", "www.culinaryhill.com")
    ]


def test_licenses_of_real_pages_that_discuss_licenses(data: Path) -> None:
    found = of_real_pages(data, "warc-edge-cases/dolma-sample-0001.warc.gz")
    found |= of_real_pages(data, "warc-edge-cases/dolma-sample-0000.warc.gz")
    licensed = {url: license_ for url, (_, license_) in found.items() if license_}
    assert licensed.pop("https://soldaini.net/") == "cc-by-4.0"  # its footer says so
    ((url, license_),) = licensed.items()  # a post, whose only link to a license is the footer's; others link several
    assert url.startswith("https://creativecommons.org/2024/04/23/") and license_ == "cc-by-4.0"


@given(st.lists(st.sampled_from(["<meta ", "<a ", "name=", "robots", '"', "'", ">", "<!--", "-->", "<script>", "=", "/",
                                 " ", "creativecommons.org/", "x", "</script>", "content=noai", "rel=license"]),
                max_size=60))  # fmt: skip
def test_random_tags_are_read_to_the_end(parts: list[str]) -> None:
    page = claims("".join(parts).encode(), {})
    assert set(page.signals) == set(NOTHING) and page.license is None


@pytest.mark.parametrize(
    "piece", ["<a ", '<a x="', "<a x='<a y=\"", "<!--", "<script>", "<meta name", "<a =", "<a" + " x" * 50, "<a /"]
)
def test_hostile_pages_take_linear_time(piece: str) -> None:
    page = b"creativecommons.org/" + piece.encode() * (600_000 // len(piece)) + b"'\"><meta name=robots content=noai>"
    claims(page, {})  # were any of it read again for every tag, this would take an hour
