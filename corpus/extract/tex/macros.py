r"""Macro expansion, and the numbers and lengths that TeX finds by expanding macros."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from corpus.document import UnreadableError
from corpus.extract.tex.lexer import PAR
from corpus.extract.tex.tokens import MAX_WAITING, TokenStream

ABSENT, TRUE, FALSE = "\\-NoValue-", "\\BooleanTrue", "\\BooleanFalse"  # values of xparse's optional arguments, stars
MAX_DELIMITED = 20_000  # tokens up to a delimiter, which is searched one character at a time
MAX_EXPANSIONS = 20  # of macros before a number

_NUMBER = re.compile(r"\s*([-+]?)\s*(?:'([0-7]+)|\"([0-9A-F]+)|(\d+[.,]?\d*|[.,]\d+)) ?")
_UNIT = re.compile(r"\s*(?:true)?\s*(?:pt|in|cm|mm|em|ex|pc|bp|sp|dd|cc|mu|fil+)(?![a-zA-Z]) ?")
_GLUE = re.compile(r"\s*(?:plus|minus)(?![a-zA-Z])")
_SIGN = re.compile(r"\s*[-+]\s*\Z")


@dataclass(frozen=True)
class Parameter:
    """Form of one argument: `m` in braces, `o` in brackets, `s` a star, `d` up to a delimiter."""

    kind: str = "m"
    default: list[str] | None = None
    delimiter: list[str] = field(default_factory=list)

    def read(self, tokens: TokenStream) -> list[str]:
        """Read the argument."""
        if self.kind == "s":
            return [TRUE if tokens.star() else FALSE]
        if self.kind == "o":
            given = tokens.optional()
            return given if given is not None else [ABSENT] if self.default is None else self.default
        return tokens.argument() if self.kind == "m" else self._delimited(tokens)

    def _delimited(self, tokens: TokenStream) -> list[str]:
        """Read up to the delimiter; an argument without one within reach ends with the paragraph."""
        argument: list[str] = []
        depth = 0
        while (token := tokens.unit()) and token != PAR and len(argument) < MAX_DELIMITED:
            argument.append(" " if token.isspace() else token)
            depth += (token == "{") - (token == "}")
            if not depth and argument[-len(self.delimiter) :] == self.delimiter:
                del argument[-len(self.delimiter) :]
                # Braces around the whole argument are removed.
                if len(argument) > 1 and argument[0] == "{" and argument[-1] == "}" and "}" not in argument[1:-1]:
                    return argument[1:-1]
                return argument
        tokens.back(token)
        return argument


@dataclass(frozen=True)
class Macro:
    """Parameters and replacement text of a control sequence."""

    parameters: list[Parameter]
    body: list[str]
    prefix: str = ""  # characters between the name and the first argument

    def expand(self, tokens: TokenStream) -> list[str]:
        """Read the arguments of a call and return the replacement text with them.

        `##1` becomes `#1`, the parameter of a macro that the replacement text defines.
        """
        for character in self.prefix:
            tokens.take(character)
        arguments = [parameter.read(tokens) for parameter in self.parameters]
        expansion: list[str] = []
        for token in self.body:
            if token[0] != "#" or len(token) < 2:
                expansion.append(token)
            elif token[1] == "#":
                expansion.append(token[1:])
            elif (number := int(token[1])) <= len(arguments):
                expansion.extend(arguments[number - 1])
                if len(expansion) > MAX_WAITING:
                    raise UnreadableError("too_complex")
        return expansion


def read_number(tokens: TokenStream, macros: Mapping[str, Macro]) -> float:
    """Read a number, or a length without its unit; 0 for a register and whatever else only TeX knows."""
    tokens.skip_space()
    # Expand macros and collect signs in front of the digits.
    token, sign = tokens.next(), 1
    for _ in range(MAX_EXPANSIONS):
        if (macro := macros.get(token)) is not None:
            tokens.push(macro.expand(tokens))
        elif match := _SIGN.match(token):
            sign = -sign if "-" in match[0] else sign
        else:
            break
        token = tokens.next()
    if token[:1] == "`":  # the code of a character
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
    minus, octal, hexadecimal, decimal = match.groups()
    digits, base = (octal, 8) if octal else (hexadecimal, 16)
    size = float(decimal.replace(",", ".")[:20]) if decimal else int(digits[:20], base)
    return -sign * size if minus == "-" else sign * size


def read_assignment(tokens: TokenStream, macros: Mapping[str, Macro]) -> None:
    """Read the value that follows a register or parameter: `=3pt plus 1pt`, ` 3pt`."""
    tokens.skip_space()
    tokens.take("=")
    read_number(tokens, macros)
    for _ in range(2):
        glue = _GLUE.match(token := tokens.next())
        tokens.back(token[glue.end() :] if glue else token)
        if glue is None:
            break
        read_number(tokens, macros)
