r"""Definitions: `\newcommand`, `\def`, `\let`, `\newenvironment`, `\newtheorem` and their like."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from corpus.document import UnreadableError
from corpus.extract.tex.commands import STRUCTURE
from corpus.extract.tex.lexer import PAR
from corpus.extract.tex.macros import Macro, Parameter
from corpus.extract.tex.symbols import SYMBOLS
from corpus.extract.tex.tokens import FROZEN, TokenStream

_NOT_DEFINED = re.compile(r"\A\\[a-zA-Z]*cite[a-zA-Z]*\Z|@.|.@")  # citations, and internal names of packages
MAX_DEFINED = 50_000  # names: some 20 MB


class Definitions:
    """Macros, environments and theorems defined so far. A definition holds from where it stands, in any group."""

    def __init__(self, tokens: TokenStream) -> None:
        self.macros: dict[str, Macro] = {}
        self.environments: dict[str, tuple[Macro, Macro]] = {}  # replacement text of \begin and \end
        self.theorems: dict[str, str] = {}  # titles by environment
        self._tokens = tokens
        # All commands that are executed and produce no tokens of their own; the other classes add theirs.
        self.commands: dict[str, Callable[[], object]] = {
            **dict.fromkeys(("\\newcommand", "\\renewcommand", "\\DeclareRobustCommand"), self._newcommand),
            **dict.fromkeys(("\\newrobustcmd", "\\renewrobustcmd"), self._newcommand),
            **dict.fromkeys(("\\providecommand", "\\providerobustcmd"), lambda: self._newcommand(provide=True)),
            **dict.fromkeys(("\\def", "\\gdef", "\\edef", "\\xdef"), self._def),
            **dict.fromkeys(("\\let", "\\futurelet"), self._let),
            "\\DeclareMathOperator": self._math_operator,
            "\\DeclarePairedDelimiter": self._paired_delimiter,
            **dict.fromkeys(("\\newenvironment", "\\renewenvironment", "\\provideenvironment"), self._newenvironment),
            "\\newtheorem": self._newtheorem,
            "\\spnewtheorem": self._spnewtheorem,
            "\\declaretheorem": self._declaretheorem,
        }
        for verb in ("New", "Renew", "Provide", "Declare"):
            for middle in ("", "Expandable"):
                self.commands[f"\\{verb}{middle}DocumentCommand"] = self._document_command
            self.commands[f"\\{verb}DocumentEnvironment"] = lambda: self._newenvironment(xparse=True)
        self._defining = dict(self.commands)

    def read_package(self, source: str) -> None:
        """Execute only the definitions of a package; the rest of it is about layout."""
        outer, self._tokens = self._tokens, TokenStream()
        self._tokens.open("", source, at_letter=True)
        while token := self._tokens.next():
            if (command := self._defining.get(token)) is not None:
                command()
        self._tokens = outer

    def define(self, name: str, parameters: list[Parameter], body: list[str], prefix: str = "") -> None:
        """Define a macro, unless the structure of the text depends on the old meaning of its name."""
        if name[:1] == "\\" and name not in STRUCTURE and name not in self.commands and not _NOT_DEFINED.search(name):
            self.macros[name] = replace(_macro(parameters, body), prefix=prefix)
            self.check_size()

    def check_size(self) -> None:
        """Raise UnreadableError("too_complex") if there are more definitions than in any paper."""
        if len(self.macros) + len(self.commands) + len(self.environments) + len(self.theorems) > MAX_DEFINED:
            raise UnreadableError("too_complex")

    def _let(self) -> None:
        name = self._name()
        self._tokens.skip_space()
        if self._tokens.take("="):
            self._tokens.take(" ")
        meaning = self._tokens.unit()
        if (macro := self.macros.get(meaning)) is not None:
            self.define(name, macro.parameters, macro.body, macro.prefix)
        elif meaning in self.commands:
            if name[:1] == "\\" and name not in STRUCTURE and name not in self._defining:
                self.commands[name] = self.commands[meaning]
                self.check_size()
        elif meaning[:1] == "\\" and meaning != name:
            self.define(name, [], [FROZEN + meaning])  # the meaning is that of now
        elif meaning[:1] != "\\":
            self.define(name, [], [meaning] if meaning not in ("{", "}", "") else [])

    def _name(self) -> str:
        r"""Read the control sequence that is defined: `\name`, `{\name}` or `\csname name\endcsname`."""
        tokens = self._tokens
        tokens.skip_space()
        if tokens.peek() == "{":
            given = [token for token in tokens.argument() if not token.isspace()]
            return given[0] if given else ""
        name = tokens.unit()
        if name != "\\csname":
            return name
        tokens.skip_space()
        return tokens.csname()

    def _parameters(self) -> list[Parameter]:
        r"""Read the `[2][default]` of \newcommand."""
        number = "".join(self._tokens.optional() or []).strip()
        parameters = [Parameter()] * (int(number) if number.isdecimal() and len(number) == 1 else 0)
        if parameters and (default := self._tokens.optional()) is not None:
            parameters[0] = Parameter("o", default)
        return parameters

    def _newcommand(self, provide: bool = False) -> None:
        self._tokens.star()
        name, parameters = self._name(), self._parameters()
        body = self._tokens.argument()
        if not provide or (name not in self.macros and name not in SYMBOLS):
            self.define(name, parameters, body)

    def _def(self) -> None:
        # The parameter text stands between the name and the body: `\def\name prefix#1delimiter#2{body}`.
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
        positions = [index for index, token in enumerate(pattern) if len(token) == 2 and token[0] == "#"]
        parameters = []
        for position, following in pairwise([*positions, len(pattern)]):
            delimiter = pattern[position + 1 : following]
            delimited = delimiter and delimiter != ["#"]
            parameters.append(Parameter("d", delimiter=delimiter) if delimited else Parameter())
        prefix = pattern[: positions[0]] if positions else pattern
        self.define(name, parameters, body, "".join(unit for unit in prefix if len(unit) == 1))

    def _math_operator(self) -> None:
        star = "*" if self._tokens.star() else ""
        name = self._name()
        self.define(name, [], [f"\\operatorname{star}", "{", *self._tokens.argument(), "}"])

    def _paired_delimiter(self) -> None:
        name, left, right = self._name(), self._tokens.argument(), self._tokens.argument()
        self.define(name, [Parameter("s"), Parameter("o"), Parameter()], [*left, "#3", *right])

    def _document_command(self) -> None:
        name, parameters = self._name(), self._document_parameters()
        self.define(name, parameters, self._tokens.argument())

    def _newenvironment(self, xparse: bool = False) -> None:
        if not xparse:
            self._tokens.star()
        name, parameters = self._tokens.word(), self._document_parameters() if xparse else self._parameters()
        begin, end = self._tokens.argument(), self._tokens.argument()
        if f"{{{name}}}" not in STRUCTURE:
            self.environments[name] = _macro(parameters, begin), _macro([], end)
            self.check_size()

    def _document_parameters(self) -> list[Parameter]:
        """Read the argument specification of xparse, such as `s O{default} m`."""
        parameters: list[Parameter] = []
        spec = self._tokens.argument()
        units = [unit for token in spec for unit in ([token] if token[0] == "\\" else token)][:200]
        while units:
            kind = units.pop(0)
            if kind in "moOs":
                parameters.append(Parameter(kind.lower()))
            if kind == "O" and units and units[0] == "{":
                end = units.index("}") if "}" in units else len(units)
                parameters[-1] = Parameter("o", units[1:end])
                del units[: end + 1]
        return parameters[:9]

    def _newtheorem(self) -> None:
        self._tokens.star()
        name = self._tokens.word()
        self._tokens.optional()
        self.theorems[name] = self._tokens.word()
        self.check_size()
        self._tokens.optional()

    def _spnewtheorem(self) -> None:
        self._newtheorem()
        self._tokens.skip("mm")

    def _declaretheorem(self) -> None:
        self._tokens.optional()
        for name in self._tokens.word().split(","):
            self.theorems[name.strip()] = name.strip().capitalize()
        self.check_size()
        self._tokens.optional()


def _macro(parameters: list[Parameter], body: list[str]) -> Macro:
    """Return a macro; one that uses internal commands of a package, with @, expands to its arguments alone."""
    if any(token[0] == "\\" and "@" in token and len(token) > 2 for token in body):
        numbers = [number for number, parameter in enumerate(parameters, 1) if parameter.kind in "md"]
        body = [token for number in numbers for token in ("{", f"#{number}", "}")]
    return Macro(parameters, body)
