"""hf://: listed and described by huggingface_hub's file system, and read from the hub over HTTPS like any file."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch.access import Access
from corpus.fetch.answer import AbsentError, Remote, TransientError, shown
from corpus.fetch.asking import judge
from corpus.fetch.hosts import Host
from corpus.fetch.http import HttpAnswer, HttpStore
from corpus.fetch.retry import tried

T = TypeVar("T")
_FILE = re.compile(
    r"hf://(?P<kind>datasets/|spaces/|(?!datasets/|spaces/))(?P<name>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?/(?P<path>.+)"
)


class HubStore(HttpStore):
    """Files of the Hugging Face Hub, or of the mirror that HF_ENDPOINT names."""

    advice = (
        "Log in (`hf auth login`, or HF_TOKEN), and accept the conditions on the page of the data set; "
        "or name a mirror in HF_ENDPOINT"
    )

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        from huggingface_hub import HfFileSystem, constants, get_token

        self._endpoint: str = constants.ENDPOINT
        self._token: str | None = get_token()
        # it keeps listings for as long as we keep it: for one question, often about many files of a folder
        self._system: Any = HfFileSystem(endpoint=self._endpoint, skip_instance_cache=True)

    def host(self, url: str) -> str:
        """See Store.host."""
        return super().host(self._endpoint if url.startswith("hf://") else url)

    @contextmanager
    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[HttpAnswer]:
        """See Store.ask. The token goes to the hub alone, not to where it redirects."""
        at = self._page(url) if url.startswith("hf://") else url
        if self._token and urlsplit(at)[:2] == urlsplit(self._endpoint)[:2]:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        with super().ask(method, at, headers) as answer:
            yield answer

    def describe(self, url: str) -> Remote:
        """Size and version; the SHA-256 where the hub publishes it, which it does of large files."""
        self._page(url)
        info = tried(shown(url), lambda: self._told(url, lambda: self._system.info(url)))
        if info["type"] != "file":
            raise InputError(f"{shown(url)}: a folder; name its files, with a pattern such as **/*.parquet")
        lfs = info.get("lfs")
        if lfs is None:
            return super().describe(url)
        return Remote(url, int(info["size"]), f"sha256:{lfs['sha256']}")

    def expand(self, pattern: str) -> list[str]:
        """The files that a pattern matches."""
        self._page(pattern)
        found = tried(shown(pattern), lambda: self._told(pattern, lambda: self._system.glob(pattern, detail=True)))
        return sorted(f"hf://{name}" for name, info in found.items() if info["type"] == "file")

    def _page(self, url: str) -> str:
        """Where the hub has the file. Raises InputError."""
        match = _FILE.fullmatch(url)
        if match is None:
            raise InputError(f"{shown(url)}: no file of a hub; one reads hf://datasets/OWNER/NAME/PATH")
        revision = quote(unquote(match["revision"] or "main"), safe="")
        return f"{self._endpoint}/{match['kind']}{match['name']}/resolve/{revision}/{quote(match['path'])}"

    def _told(self, url: str, question: Callable[[], T]) -> T:
        """What the file system answers, its errors as ours."""
        host = Host(self.access, self.host(url))
        with host.slot():
            try:
                return question()
            except FileNotFoundError as error:
                raise AbsentError(f"{shown(url)}: the hub has no such file: {_line(error)}") from None
            except (ValueError, NotImplementedError) as error:
                raise InputError(f"{shown(url)}: {_line(error)}") from None
            except Exception as error:  # its HTTP client is one thing today and another tomorrow
                response = getattr(error, "response", None)
                if response is not None:
                    judge(_Refusal(url, response.status_code, response.headers, error), shown(url), host, self.advice)
                if type(error).__name__ == "OfflineModeIsEnabled":
                    raise CorpusError(f"{shown(url)}: {_line(error)}") from None
                if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "requests")):
                    raise TransientError(_line(error)) from None
                raise


class _Refusal:
    """An error of the hub's client as an Answer."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], error: Exception) -> None:
        self.url, self.status = url, status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self._said = _line(error).encode()

    def read(self, count: int) -> bytes:
        """What the client says of it."""
        said, self._said = self._said, b""
        return said


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
