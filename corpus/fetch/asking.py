"""One request, politely: in the host's turn, along redirects, and with its status judged."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import urljoin, urlsplit

from corpus.errors import CorpusError
from corpus.fetch.answer import AbsentError, Answer, ChangedError, Store, TransientError, shown
from corpus.fetch.hosts import LONGEST_WAIT_S, Host
from corpus.fetch.published import retry_after

REDIRECTS = 10
_REDIRECTING = (301, 302, 303, 307, 308)
_SAID_BYTES = 4096
_NONE: Mapping[str, str] = MappingProxyType({})


@contextmanager
def asked(
    store: Store, method: str, url: str, headers: Mapping[str, str] = _NONE, also: Sequence[int] = ()
) -> Iterator[Answer]:
    """The answer, of status 200, 206 or one of `also`. Raises as `judge` does; CorpusError for a redirect too many."""
    at = url
    for _ in range(REDIRECTS + 1):
        host = Host(store.access, store.host(at))
        with host.slot(), store.ask(method, at, headers) as answer:
            following = _following(answer)
            if following is None:
                if answer.status not in also:
                    judge(answer, shown(url), host, store.advice)
                yield answer
                return
        at = following
    raise CorpusError(f"{shown(url)}: redirected more than {REDIRECTS} times, last to {shown(at)}; it leads nowhere")


def judge(answer: Answer, what: str, host: Host, advice: str) -> None:
    """Raises unless the status is 200 or 206.

    AbsentError on 404 and 410; RefusedError on 401 and 403, then for all who ask that host; TransientError on what
    time may mend; ChangedError on 412 and 416; CorpusError on all the rest.
    """
    status = answer.status
    if status in (200, 206):
        return
    if status in (404, 410):
        raise AbsentError(f"{what}: the server has no such thing (status {status})")
    if status in (412, 416):
        raise ChangedError(
            f"{what}: the server has not, or no longer, what it was asked for (status {status}). Build again; if it "
            "stays so, name a mirror"
        )
    if status in (401, 403):
        said = _said(answer)
        said = f", and said: {said}" if said else ""
        raise host.refuse(f"{what}: {host.name} refused (status {status}){said}. {advice}")
    if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
        everyone = status in (429, 503)  # it has too much to do; the others are about one request
        wait = retry_after(answer.headers) if everyone else None
        if wait is not None and wait > LONGEST_WAIT_S:
            raise host.refuse(
                f"{what}: {host.name} asks to be left alone for {wait:.0f} s (status {status}, Retry-After); more than "
                f"{LONGEST_WAIT_S:.0f} s are not waited. Build again later, or name a mirror"
            )
        raise TransientError(f"{host.name} answered with status {status}", wait, host if everyone else None)
    said = _said(answer)
    said = f", and said: {said}" if said else ""
    raise CorpusError(f"{what}: the server refused (status {status}){said}")


def _following(answer: Answer) -> str | None:
    """Where the answer sends us."""
    location = answer.headers.get("location", "") if answer.status in _REDIRECTING else ""
    if not location:
        return None
    following = urljoin(answer.url, location)
    scheme = urlsplit(following).scheme
    if scheme not in ("http", "https") or (scheme == "http" and answer.url.startswith("https:")):
        what = "not secured" if scheme == "http" else "no web address"
        raise CorpusError(
            f"{shown(answer.url)}: redirects to {shown(following)}, which is {what}; if that is meant, name it instead"
        )
    return following


def _said(answer: Answer) -> str:
    """The beginning of what a server said, on one line, safe to print."""
    found = b""
    try:
        while len(found) < _SAID_BYTES and (block := answer.read(_SAID_BYTES)):
            found += block
    except TransientError:
        pass
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", found.decode("utf-8", "replace"), flags=re.DOTALL)
    text = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(text.split())[:200]
