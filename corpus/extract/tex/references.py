"""Commands that stand for a number or a name from elsewhere: citations and references."""

import re

_CITATION = re.compile(r"\\[a-zA-Z]*[cC]ite[a-zA-Z]*")
_REFERENCE = re.compile(
    r"\\(?:eq|page|auto|Auto|[cC]|[vV]|v?page|name|sub|[fF]|labelc|namec|full|sec|fig|tab|pretty|z)?ref"
)


def referring(name: str) -> str | None:
    """How the arguments of such a command are written (see commands.py); None for another."""
    if _REFERENCE.fullmatch(name):
        return "sm"
    if name in ("\\crefrange", "\\Crefrange", "\\vrefrange"):
        return "smm"
    return "soom" if _CITATION.fullmatch(name) else None
