"""How files elsewhere are reached: nothing in it changes a byte of what is built."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from corpus.settings import Strict


def default_cache() -> Path:
    """Where fetched files are kept if nothing else is said: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "gristmill"


class S3(Strict):
    """How `s3://` addresses are asked for; keys come from the environment, as every S3 client takes them."""

    sign: Literal["auto", "always", "never"] = "auto"  # auto: signed where there are keys, else anonymous
    requester_pays: bool = False
    endpoint: str | None = None  # of a server that is not AWS


@dataclass(frozen=True)
class Access:
    """What every fetch is told."""

    cache: Path  # where fetched files are kept
    contact: str | None = None  # who is asking, for the User-Agent: a page or an address of mail
    connections: int = 4  # at once, to one host, from all processes of this machine
    s3: S3 = field(default_factory=S3)
