"""Settings of network access. They never affect the output."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from corpus.settings import Strict


def default_cache() -> Path:
    """Return the folder for fetched files if no other is set: `gristmill` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "gristmill"


class S3(Strict):
    """Settings of S3 access. Keys come from the environment, as for every S3 client."""

    sign: Literal["auto", "always", "never"] = "auto"  # auto: sign if there are keys, else anonymous
    requester_pays: bool = False
    endpoint: str | None = None  # URL of a server other than AWS


@dataclass(frozen=True)
class Access:
    """Settings of one user's network access."""

    cache: Path  # folder of fetched files
    contact: str | None = None  # web page or e-mail address, for the User-Agent
    connections: int = 4  # parallel requests to one host, over all processes that share the cache
    s3: S3 = field(default_factory=S3)
