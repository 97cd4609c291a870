"""hf:// addresses: listed and described with huggingface_hub, downloaded over HTTPS."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch.access import Access
from corpus.fetch.base_store import AbsentError, FileInfo, Listing, display_url, error_line
from corpus.fetch.http import HttpStore
from corpus.fetch.politeness import TransientError
from corpus.fetch.response import Response

_FILE = re.compile(
    r"hf://(?P<kind>datasets/|spaces/|(?!datasets/|spaces/))(?P<name>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?/(?P<path>.+)"
)


class HubStore(HttpStore):
    """Files of the Hugging Face Hub, or of the mirror in HF_ENDPOINT."""

    advice = (
        "Log in (`hf auth login`, or HF_TOKEN) and accept the conditions on the dataset's page, or set HF_ENDPOINT to "
        "a mirror"
    )

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        from huggingface_hub import HfFileSystem, constants, get_token

        self._endpoint: str = constants.ENDPOINT
        self._token: str | None = get_token()
        # Caches folder listings during one command, which often names many files of one folder.
        self._system: Any = HfFileSystem(endpoint=self._endpoint, skip_instance_cache=True)

    def host(self, url: str) -> str:
        """See NetworkStore.host."""
        return super().host(self._endpoint if url.startswith("hf://") else url)

    @contextmanager
    def send(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[Response]:
        """See NetworkStore.send. The token is sent to the hub only, not to hosts that it redirects to."""
        target = self._web_address(url) if url.startswith("hf://") else url
        if self._token and urlsplit(target)[:2] == urlsplit(self._endpoint)[:2]:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        with super().send(method, target, headers) as response:
            yield response

    def describe(self, url: str) -> FileInfo:
        """See Store.describe. The hub publishes the SHA-256 of large files."""
        self._web_address(url)
        info = self.query(url, lambda: self._system.info(url))
        if info["type"] != "file":
            raise InputError(f"{display_url(url)}: a folder; name its files, with a pattern such as **/*.parquet")
        return _listed(url, info) or super().describe(url)

    def expand(self, pattern: str) -> Listing:
        """See Store.expand."""
        self._web_address(pattern)
        files = self.query(pattern, lambda: self._system.glob(pattern, detail=True))
        paths = sorted(path for path, info in files.items() if info["type"] == "file")
        return {f"hf://{path}": _listed(f"hf://{path}", files[path]) for path in paths}

    def _web_address(self, url: str) -> str:
        """Return the file's address at the hub. Raises InputError."""
        match = _FILE.fullmatch(url)
        if match is None:
            raise InputError(f"{display_url(url)}: invalid hub address; expected hf://datasets/OWNER/NAME/PATH")
        revision = quote(unquote(match["revision"] or "main"), safe="")
        return f"{self._endpoint}/{match['kind']}{match['name']}/resolve/{revision}/{quote(match['path'])}"

    def error_response(self, error: Exception, url: str) -> Response:
        """See NetworkStore.error_response. The classes depend on the hub client's version of its HTTP library."""
        message = f"{display_url(url)}: {error_line(error)}"
        if isinstance(error, FileNotFoundError):
            raise AbsentError(f"{message} (not found on the hub)") from None
        if isinstance(error, ValueError | NotImplementedError):
            raise InputError(message) from None
        response = getattr(error, "response", None)
        if response is not None:
            return Response.of_error(url, response.status_code, response.headers, error_line(error))
        if type(error).__name__ == "OfflineModeIsEnabled":
            raise CorpusError(message) from None
        if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "requests")):
            raise TransientError(error_line(error)) from None
        raise error


def _listed(url: str, entry: Mapping[str, Any]) -> FileInfo | None:
    """Return a file as the hub lists it; None if it is not a large one, whose SHA-256 the hub states."""
    lfs = entry.get("lfs")
    return FileInfo(url, int(entry["size"]), f"sha256:{lfs['sha256']}") if lfs else None
