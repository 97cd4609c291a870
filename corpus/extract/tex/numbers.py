"""Numbers and lengths where TeX reads them without braces."""

import re
from collections.abc import Mapping

from corpus.extract.tex.macros import Macro
from corpus.extract.tex.tokens import Tokens

_NUMBER = re.compile(r"\s*([-+]?)\s*(?:'([0-7]+)|\"([0-9A-F]+)|(\d+[.,]?\d*|[.,]\d+)) ?")
_UNIT = re.compile(r"\s*(?:true)?\s*(?:pt|in|cm|mm|em|ex|pc|bp|sp|dd|cc|mu|fil+)(?![a-zA-Z]) ?")
_GLUE = re.compile(r"\s*(?:plus|minus)(?![a-zA-Z])")
_SIGN = re.compile(r"\s*[-+]\s*\Z")
MAX_EXPANSIONS = 20


def number(tokens: Tokens, macros: Mapping[str, Macro]) -> float:
    """A number, or a length without its unit; 0 for what only TeX knows, such as a register."""
    tokens.skip_space()
    token, sign = tokens.next(), 1
    for _ in range(MAX_EXPANSIONS):
        if (macro := macros.get(token)) is not None:
            tokens.push(macro.expand(tokens))
        elif match := _SIGN.match(token):
            sign = -sign if "-" in match[0] else sign
        else:
            break
        token = tokens.next()
    if token[:1] == "`":
        tokens.back(token[1:])
        letter = tokens.unit()
        tokens.skip_space()
        return ord(letter[-1]) if letter else 0
    match = _NUMBER.match(token)
    if match is None:
        if token[:1] != "\\" or token == "\\fi":
            tokens.back(token)
        else:
            tokens.skip_space()
        return 0
    rest = token[match.end() :]
    unit = _UNIT.match(rest)
    tokens.back(rest[unit.end() :] if unit else rest)
    digits = match[4] and match[4].replace(",", ".")[:20]
    size = int(match[2][:20], 8) if match[2] else int(match[3][:20], 16) if match[3] else float(digits)
    return -sign * size if match[1] == "-" else sign * size


def assigned(tokens: Tokens, macros: Mapping[str, Macro]) -> float:
    """What stands behind a register: `=3pt plus 1pt`, ` 3pt`."""
    tokens.skip_space()
    tokens.take("=")
    size = number(tokens, macros)
    for _ in range(2):
        glue = _GLUE.match(token := tokens.next())
        tokens.back(token[glue.end() :] if glue else token)
        if glue is None:
            break
        number(tokens, macros)
    return size
