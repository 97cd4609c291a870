r"""Commands that read arguments and act: among them `\newcommand`, `\def`, `\let`, `\newenvironment`, `\newtheorem`."""

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise

from corpus.document import UnreadableError
from corpus.extract.tex.commands import STRUCTURE
from corpus.extract.tex.lexer import PAR
from corpus.extract.tex.macros import Macro, Parameter
from corpus.extract.tex.symbols import SYMBOLS
from corpus.extract.tex.tokens import FROZEN, TokenStream

_NOT_DEFINED = re.compile(r"\A\\[a-zA-Z]*cite[a-zA-Z]*\Z|@.|.@")  # citations, and internal names of packages
MAX_DEFINED = 50_000  # names: some 20 MB
_VERBS = ("New", "Renew", "Provide", "Declare")  # of xparse
_XPARSE_COMMANDS = " ".join(f"{verb}DocumentCommand {verb}ExpandableDocumentCommand" for verb in _VERBS)
_XPARSE_ENVIRONMENTS = " ".join(f"{verb}DocumentEnvironment" for verb in _VERBS)


def _parameters(tokens: TokenStream) -> list[Parameter]:
    r"""Read the `[2][default]` of \newcommand."""
    number = "".join(tokens.optional() or []).strip()
    parameters = [Parameter()] * (int(number) if number.isdecimal() and len(number) == 1 else 0)
    if parameters and (default := tokens.optional()) is not None:
        parameters[0] = Parameter("o", default)
    return parameters


def _xparse_parameters(tokens: TokenStream) -> list[Parameter]:
    """Read the argument specification of xparse, such as `s O{default} m`."""
    parameters: list[Parameter] = []
    units = [unit for token in tokens.argument() for unit in ([token] if token[0] == "\\" else token)][:200]
    while units:
        kind = units.pop(0)
        if kind in "moOs":
            parameters.append(Parameter(kind.lower()))
        if kind == "O" and units and units[0] == "{":
            end = units.index("}") if "}" in units else len(units)
            parameters[-1] = Parameter("o", units[1:end])
            del units[: end + 1]
    return parameters[:9]


# Arguments that are handed to a command's action. Those of TokenStream.skip are read and dropped.
_READERS: dict[str, Callable[[TokenStream], object]] = {
    "S": TokenStream.star,
    "M": TokenStream.argument,
    "W": TokenStream.word,
    "N": TokenStream.name,
    "P": _parameters,
    "X": _xparse_parameters,
}


class Definitions:
    """Macros, environments and theorems defined so far. A definition holds from where it stands, in any group."""

    def __init__(self, tokens: TokenStream) -> None:
        self.macros: dict[str, Macro] = {}
        self.environments: dict[str, tuple[Macro, Macro]] = {}  # replacement text of \begin and \end
        self.theorems: dict[str, str] = {}  # titles by environment
        self._tokens = tokens
        # All commands that are executed and produce no tokens of their own; the other classes add theirs.
        self.commands: dict[str, Callable[[], object]] = {}
        self.add(
            ("newcommand renewcommand DeclareRobustCommand newrobustcmd renewrobustcmd", "sNPM", self.define),
            ("providecommand providerobustcmd", "sNPM", self._providecommand),
            ("def gdef edef xdef", "N", self._def),
            ("let futurelet", "N", self._let),
            ("DeclareMathOperator", "SNM", self._math_operator),
            ("DeclarePairedDelimiter", "NMM", self._paired_delimiter),
            (_XPARSE_COMMANDS, "NXM", self.define),
            ("newenvironment renewenvironment provideenvironment", "sWPMM", self._newenvironment),
            (_XPARSE_ENVIRONMENTS, "WXMM", self._newenvironment),
            ("newtheorem", "sWoWo", self._newtheorem),
            ("spnewtheorem", "sWoWomm", self._newtheorem),
            ("declaretheorem", "oWo", self._declaretheorem),
        )
        self._defining = dict(self.commands)

    def add(self, *commands: tuple[str, str, Callable[..., object]]) -> None:
        """Add commands: names, argument kinds, and the action that receives the arguments of upper-case kinds."""
        for names, spec, action in commands:
            self.commands |= {f"\\{name}": partial(self._execute, spec, action) for name in names.split()}

    def _execute(self, spec: str, action: Callable[..., object]) -> None:
        arguments: list[object] = []
        for kind in spec:
            if kind in _READERS:
                arguments.append(_READERS[kind](self._tokens))
            else:
                self._tokens.skip(kind)
        action(*arguments)

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
            self.macros[name] = _macro(parameters, body, prefix)
            self.check_size()

    def check_size(self) -> None:
        """Raise UnreadableError("too_complex") if there are more definitions than in any paper."""
        if len(self.macros) + len(self.commands) + len(self.environments) + len(self.theorems) > MAX_DEFINED:
            raise UnreadableError("too_complex")

    def _let(self, name: str) -> None:
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
            self.define(name, [], [FROZEN + meaning])  # `\let` copies the current meaning
        elif meaning[:1] != "\\":
            self.define(name, [], [meaning] if meaning not in ("{", "}", "") else [])

    def _providecommand(self, name: str, parameters: list[Parameter], body: list[str]) -> None:
        if name not in self.macros and name not in SYMBOLS:
            self.define(name, parameters, body)

    def _def(self, name: str) -> None:
        # The parameter text stands between the name and the body: `\def\name prefix#1delimiter#2{body}`.
        pattern: list[str] = []
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

    def _math_operator(self, star: bool, name: str, body: list[str]) -> None:
        self.define(name, [], ["\\operatorname*" if star else "\\operatorname", "{", *body, "}"])

    def _paired_delimiter(self, name: str, left: list[str], right: list[str]) -> None:
        self.define(name, [Parameter("s"), Parameter("o"), Parameter()], [*left, "#3", *right])

    def _newenvironment(self, name: str, parameters: list[Parameter], begin: list[str], end: list[str]) -> None:
        if f"{{{name}}}" not in STRUCTURE:
            self.environments[name] = _macro(parameters, begin), _macro([], end)
            self.check_size()

    def _newtheorem(self, name: str, title: str) -> None:
        self.theorems[name] = title
        self.check_size()

    def _declaretheorem(self, names: str) -> None:
        for name in names.split(","):
            self._newtheorem(name.strip(), name.strip().capitalize())


def _macro(parameters: list[Parameter], body: list[str], prefix: str = "") -> Macro:
    """Return a macro; one that uses internal commands of a package, with @, expands to its arguments alone."""
    if any(token[0] == "\\" and "@" in token and len(token) > 2 for token in body):
        numbers = [number for number, parameter in enumerate(parameters, 1) if parameter.kind in "md"]
        body = [token for number in numbers for token in ("{", f"#{number}", "}")]
    return Macro(parameters, body, prefix)
