r"""Macros: what \newcommand, \def and their like define, and what a use of one stands for.

A macro's body may hold what only a package's own code can mean (names with @). Such a macro stands for its arguments.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from corpus.document import UnreadableError
from corpus.extract.tex.accents import SYMBOLS
from corpus.extract.tex.commands import STRUCTURE
from corpus.extract.tex.scan import PAR
from corpus.extract.tex.tokens import FROZEN, MAX_WAITING, Tokens

ABSENT, TRUE, FALSE = "\\-NoValue-", "\\BooleanTrue", "\\BooleanFalse"  # xparse's, for optional arguments and stars
_KEPT = re.compile(r"\A\\[a-zA-Z]*cite[a-zA-Z]*\Z|@.|.@")  # citations stay citations; a package's own is not used
MAX_DEFINED = 50_000  # names: some 20 MB
MAX_DELIMITED = 20_000  # characters up to a delimiter, which is sought character by character


@dataclass(frozen=True)
class Parameter:
    """How one argument is written: `m` in braces, `o` in brackets, `s` a star, `d` up to a delimiter."""

    kind: str = "m"
    default: list[str] | None = None
    until: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Macro:
    """What a name stands for."""

    parameters: list[Parameter]
    body: list[str]
    prefix: str = ""  # what stands between the name and the first argument

    def expand(self, tokens: Tokens) -> list[str]:
        """The body with this use's arguments, which are read."""
        for character in self.prefix:
            tokens.take(character)
        return substituted(self.body, [_read(tokens, parameter) for parameter in self.parameters])


def substituted(body: list[str], arguments: list[list[str]]) -> list[str]:
    """The body with the arguments in place of #1, #2 …; ##1 becomes the #1 of a macro that the body defines."""
    found: list[str] = []
    for token in body:
        if token[0] != "#" or len(token) < 2:
            found.append(token)
        elif token[1] == "#":
            found.append(token[1:])
        elif (number := int(token[1])) <= len(arguments):
            found.extend(arguments[number - 1])
            if len(found) > MAX_WAITING:
                raise UnreadableError("too_complex")
    return found


def _read(tokens: Tokens, parameter: Parameter) -> list[str]:
    if parameter.kind == "s":
        return [TRUE if tokens.star() else FALSE]
    if parameter.kind == "o":
        given = tokens.optional()
        return given if given is not None else [ABSENT] if parameter.default is None else parameter.default
    if parameter.kind == "m":
        return tokens.argument()
    return _delimited(tokens, parameter.until)


def _delimited(tokens: Tokens, until: list[str]) -> list[str]:
    """Up to the delimiter, which is passed over; what is not found within reach ends at the paragraph."""
    found: list[str] = []
    depth = 0
    while (token := tokens.unit()) and token != PAR and len(found) < MAX_DELIMITED:
        found.append(" " if token.isspace() else token)
        depth += (token == "{") - (token == "}")
        if not depth and found[-len(until) :] == until:
            del found[-len(until) :]
            if len(found) > 1 and found[0] == "{" and found[-1] == "}" and "}" not in found[1:-1]:
                return found[1:-1]
            return found
    tokens.back(token)
    return found


def _macro(parameters: list[Parameter], body: list[str]) -> Macro:
    if any(token[0] == "\\" and "@" in token and len(token) > 2 for token in body):
        numbers = [n for n, parameter in enumerate(parameters, 1) if parameter.kind in "md"]
        body = [part for n in numbers for part in ("{", f"#{n}", "}")]
    return Macro(parameters, body)


class Definitions:
    """The macros and environments defined so far. A definition counts from where it stands, whatever group it is in."""

    def __init__(self, tokens: Tokens) -> None:
        self.macros: dict[str, Macro] = {}
        self.environments: dict[str, tuple[Macro, Macro]] = {}
        self.theorems: dict[str, str] = {}
        self._tokens = tokens
        # All that is carried out and leaves nothing behind; others add what they carry out.
        self.commands: dict[str, Callable[[], object]] = {
            **dict.fromkeys(("\\newcommand", "\\renewcommand", "\\DeclareRobustCommand"), self._newcommand),
            **dict.fromkeys(("\\newrobustcmd", "\\renewrobustcmd"), self._newcommand),
            **dict.fromkeys(("\\providecommand", "\\providerobustcmd"), self._providecommand),
            **dict.fromkeys(("\\def", "\\gdef", "\\edef", "\\xdef"), self._def),
            **dict.fromkeys(("\\let", "\\futurelet"), self._let),
            "\\DeclareMathOperator": self._operator,
            "\\DeclarePairedDelimiter": self._pair,
            **dict.fromkeys(("\\newenvironment", "\\renewenvironment", "\\provideenvironment"), self._environment),
            "\\newtheorem": self._theorem,
            "\\spnewtheorem": self._spnewtheorem,
            "\\declaretheorem": self._declaretheorem,
        }
        for verb in ("New", "Renew", "Provide", "Declare"):
            for middle in ("", "Expandable"):
                self.commands[f"\\{verb}{middle}DocumentCommand"] = self._document_command
            self.commands[f"\\{verb}DocumentEnvironment"] = self._document_environment
        self._defining = dict(self.commands)

    def harvest(self, package: str) -> None:
        """The definitions of a package; what else it does is for the page, not for the text."""
        own, self._tokens = self._tokens, Tokens()
        self._tokens.open("", package, at_letter=True)
        while token := self._tokens.next():
            if (command := self._defining.get(token)) is not None:
                command()
        self._tokens = own

    def define(self, name: str, parameters: list[Parameter], body: list[str], prefix: str = "") -> None:
        """From here on `name` stands for the body, unless the structure of the text hangs on what it was."""
        if name[:1] == "\\" and name not in STRUCTURE and name not in self.commands and not _KEPT.search(name):
            self.macros[name] = replace(_macro(parameters, body), prefix=prefix)
            self.check()

    def check(self) -> None:
        """Raises UnreadableError("too_complex") where more is defined than in any paper."""
        if len(self.macros) + len(self.commands) + len(self.environments) + len(self.theorems) > MAX_DEFINED:
            raise UnreadableError("too_complex")

    def alias(self, name: str, meaning: str) -> None:
        r"""\let: the meaning is what it is now."""
        if (macro := self.macros.get(meaning)) is not None:
            self.define(name, macro.parameters, macro.body, macro.prefix)
        elif meaning in self.commands:
            if name[:1] == "\\" and name not in STRUCTURE and name not in self._defining:
                self.commands[name] = self.commands[meaning]
                self.check()
        elif meaning[:1] == "\\" and meaning != name:
            self.define(name, [], [FROZEN + meaning])
        elif meaning[:1] != "\\":
            self.define(name, [], [meaning] if meaning not in ("{", "}", "") else [])

    def _name(self) -> str:
        tokens = self._tokens
        tokens.skip_space()
        if tokens.peek() == "{":
            given = [token for token in tokens.argument() if not token.isspace()]
            return given[0] if given else ""
        name = tokens.unit()
        if name != "\\csname":
            return name
        tokens.skip_space()
        parts = []
        while (token := tokens.next()) and token != "\\endcsname":
            parts.append(token)
        return "\\" + "".join(parts)

    def _parameters(self) -> list[Parameter]:
        """[2][default] of \\newcommand."""
        number = "".join(self._tokens.optional() or []).strip()
        parameters = [Parameter()] * (int(number) if number.isdecimal() and len(number) == 1 else 0)
        if parameters and (default := self._tokens.optional()) is not None:
            parameters[0] = Parameter("o", default)
        return parameters

    def _newcommand(self) -> None:
        self._tokens.star()
        name, parameters = self._name(), self._parameters()
        self.define(name, parameters, self._tokens.argument())

    def _providecommand(self) -> None:
        self._tokens.star()
        name, parameters = self._name(), self._parameters()
        body = self._tokens.argument()
        if name not in self.macros and name not in SYMBOLS:
            self.define(name, parameters, body)

    def _def(self) -> None:
        name, pattern = self._name(), list[str]()
        while (token := self._tokens.next()) and token != "{":
            if len(token) > 1 and token[0] not in "\\#":
                pattern += " " if token.isspace() else token
            else:
                pattern.append(token)
            if token == PAR or len(pattern) > 200:
                return
        self._tokens.back(token)
        body = self._tokens.argument()
        places = [n for n, token in enumerate(pattern) if len(token) == 2 and token[0] == "#"]
        parameters = []
        for place, following in pairwise([*places, len(pattern)]):
            until = pattern[place + 1 : following]
            parameters.append(Parameter("d", until=until) if until and until != ["#"] else Parameter())
        prefix = pattern[: places[0]] if places else pattern
        self.define(name, parameters, body, "".join(unit for unit in prefix if len(unit) == 1))

    def _let(self) -> None:
        name = self._name()
        self._tokens.skip_space()
        if self._tokens.take("="):
            self._tokens.take(" ")
        self.alias(name, self._tokens.unit())

    def _operator(self) -> None:
        star = "*" if self._tokens.star() else ""
        name = self._name()
        self.define(name, [], [f"\\operatorname{star}", "{", *self._tokens.argument(), "}"])

    def _pair(self) -> None:
        name, left = self._name(), self._tokens.argument()
        right = self._tokens.argument()
        self.define(name, [Parameter("s"), Parameter("o"), Parameter()], [*left, "#3", *right])

    def _environment(self) -> None:
        self._tokens.star()
        name, parameters = self._tokens.word(), self._parameters()
        begin = self._tokens.argument()
        self._set_environment(name, parameters, begin, self._tokens.argument())

    def _set_environment(self, name: str, parameters: list[Parameter], begin: list[str], end: list[str]) -> None:
        if f"{{{name}}}" not in STRUCTURE:
            self.environments[name] = _macro(parameters, begin), _macro([], end)
            self.check()

    def _theorem(self) -> None:
        self._tokens.star()
        name = self._tokens.word()
        self._tokens.optional()
        self.theorems[name] = self._tokens.word()
        self.check()
        self._tokens.optional()

    def _spnewtheorem(self) -> None:
        self._theorem()
        self._tokens.skip_argument()
        self._tokens.skip_argument()

    def _declaretheorem(self) -> None:
        self._tokens.optional()
        for name in self._tokens.word().split(","):
            self.theorems[name.strip()] = name.strip().capitalize()
        self.check()
        self._tokens.optional()

    def _document_parameters(self) -> list[Parameter]:
        found: list[Parameter] = []
        spec = self._tokens.argument()
        units = [unit for token in spec for unit in ([token] if token[0] == "\\" else token)][:200]
        while units:
            kind = units.pop(0)
            if kind in "moOs":
                found.append(Parameter("m" if kind == "m" else "s" if kind == "s" else "o"))
            if kind == "O" and units and units[0] == "{":
                end = units.index("}") if "}" in units else len(units)
                found[-1] = Parameter("o", units[1:end])
                del units[: end + 1]
        return found[:9]

    def _document_command(self) -> None:
        name, parameters = self._name(), self._document_parameters()
        self.define(name, parameters, self._tokens.argument())

    def _document_environment(self) -> None:
        name, parameters = self._tokens.word(), self._document_parameters()
        begin = self._tokens.argument()
        self._set_environment(name, parameters, begin, self._tokens.argument())
