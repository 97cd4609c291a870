"""Opt-out lists: their syntax, the hosts they cover, and their memory use.

Planted once: parents not looked at (what lies below a listed domain was read).
"""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.document import Skipped
from corpus.errors import InputError
from corpus.sources.opt_out import OptOutDomains, host_of
from tests.corpus.formats.warc_files import GOOD, SETTINGS, found, outcomes, packed

LIST = """\ufeff# domains whose owners said no
mill.example
  *.Stars.example   # and all below
.dot.example.
0.0.0.0 hosts.example other.hosts.example
::1 ip6.example
127.0.0.1 localhost
192.0.2.7
fe80::1%lo0 localhost

bücher.example
! as blockers comment
https://me@url.example:8080/page#part
||ads.example^
"""


def domains(folder: Path, text: str | bytes = LIST, name: str = "list.txt") -> OptOutDomains:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return OptOutDomains([path])


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://mill.example/page", True),
        ("http://www.MILL.example:8080/?x=y", True),
        ("https://a.b.c.mill.example.", True),
        ("https://user:word@mill.example/", True),
        ("https://mill.example@other.example/", False),
        ("https://other.example/mill.example", False),
        ("https://windmill.example/", False),
        ("https://mill.example.org/", False),
        ("https://stars.example/", True),
        ("https://x.stars.example/", True),
        ("https://x.dot.example/", True),
        ("https://hosts.example/", True),
        ("https://other.hosts.example/", True),
        ("https://ip6.example/", True),
        ("http://192.0.2.7/", True),
        ("https://www.url.example/", True),
        ("https://ads.example/", True),
        ("http://localhost/", False),
        ("http://192.0.2.8/", False),
        ("https://xn--bcher-kva.example/", True),
        ("https://www.bücher.example/", True),
        ("https://not.example.com/", False),
        ("https://a/", False),
        ("http://[::1]/", False),
        ("dns:mill.example", False),
        ("", False),
    ],
)
def test_hosts_that_a_list_covers(tmp_path: Path, url: str, covered: bool) -> None:
    assert domains(tmp_path).covers(url) is covered


def test_letters_of_idna_2008_are_not_mapped_away(tmp_path: Path) -> None:
    """By IDNA 2003 faß.de would become fass.de, which belongs to someone else."""
    both = domains(tmp_path, "faß.example\nΣΟΦΟΣ.example\nσοφός.example")
    for url, covered in {
        "https://xn--fa-hia.example/": True,
        "https://www.Faß.example/": True,
        "https://fass.example/": False,
        "https://xn--0xaakcn.example/": True,  # σοφοσ
        "https://xn--0xaajbq.example/": False,  # σοφος
        "https://σοφός.example/": True,
        "https://σοφόσ.example/": False,
    }.items():
        assert both.covers(url) is covered, url
    assert host_of("http://نامه\u200cای.example/") == "xn--mgba3gch31f060k.example"  # Source: UTS 46, 1.1


def test_names_longer_than_the_dns_allows_have_no_host(tmp_path: Path) -> None:
    """A failure takes minutes: punycode is quadratic."""
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    assert host_of(f"http://{letters}.example/") is None and host_of(f"http://ß{letters * 3}.example/") is None
    assert host_of(f"http://{'a.' * 126}b/") == "a." * 126 + "b"


def test_lists_may_be_gzipped_and_several(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(b"a.example\n" * 3))
    (tmp_path / "b").write_text("b.example\r\na.example")
    both = OptOutDomains([tmp_path / "a", tmp_path / "b"])
    assert len(both) == 2 and both.covers("http://a.example/") and both.covers("http://x.b.example/")
    assert not OptOutDomains([]).covers("http://a.example/")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nothing\n\n",
        b"\xff\xfe\n",
        b"<html><p>Not found</html>",
        bytes(5000),
        gzip.compress(b"a.example\n")[:-9],
        b"x" * 10**6,
    ],
)
def test_malformed_lists_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(
        InputError, match=r"list\.txt: (no domain in it|lines not recognized: line 1|this opt-out list cannot)"
    ):
        domains(tmp_path, content)


ODD = [
    "site.example/path", "a.example,b.example", "com", "not a domain at all", "||site.example^$third-party",
    "@@||site.example^", "a.example b.example", "https://com/", "https://[::1]/", "0.0.0.0 a/b.example", "x" * 5000,
    "mi\u200dll.example", "https://mi\u200cll.example/",
]  # fmt: skip


@pytest.mark.parametrize("line", ODD)
def test_an_unrecognized_line_is_an_error(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"list\.txt: lines not recognized: line 3: [^;]*\. An opt-out list"):
        domains(tmp_path, f"# list\nmill.example\n{line}\nstars.example\n")


def test_at_most_five_unrecognized_lines_are_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: 'com'; line 2: .*line 5: 'com'; and more\. An opt"):
        domains(tmp_path, "com\n" * 9)


def test_many_domains_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "list.gz"
    path.write_bytes(gzip.compress("".join(f"d{number}.example\n" for number in range(50_000)).encode()))
    tracemalloc.start()
    found = OptOutDomains([path])
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 50_000 and found.covers("http://www.d49999.example/")
    assert held < 500_000 and peak < 6_000_000  # 400,000 bytes of them; and its list as it is unpacked


def test_records_of_a_listed_domain_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("good.example\n")
    path = tmp_path / "x"
    path.write_bytes(packed("gz", GOOD[:20]) + b"damaged")
    settings = SETTINGS.model_copy(update={"list_files": (tmp_path / "list",)})
    spans = found(path, settings)
    assert outcomes(spans) == {"skipped(opt_out)": 20, "failed(bad_gzip)": 1}
    (tmp_path / "list").write_text("better.example\n# another\n")
    assert not any(isinstance(span, Skipped) for span in found(path, settings))  # a list that changed is read again


@given(st.text(max_size=80))
def test_any_url_has_a_host_or_none(url: str) -> None:
    for text in (url, f"http://{url}", f"http://{url}/"):
        assert host_of(text) is None or host_of(text) == host_of(text.upper()) or not text.isascii()
