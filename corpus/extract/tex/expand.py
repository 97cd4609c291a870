r"""What is left when macros are expanded, definitions read, files opened and branches chosen."""

import re

from corpus.extract.tex.conditionals import Conditionals
from corpus.extract.tex.files import Files
from corpus.extract.tex.macros import Definitions
from corpus.extract.tex.numbers import assigned, number
from corpus.extract.tex.tokens import FROZEN, Tokens

MAX_NAME = 300  # of a file, in characters
_SPACE = re.compile(r"\s")
_ONE_ARGUMENT = ("\\input", "\\include", "\\subfile", "\\subfileinclude", "\\@input")
_TWO_ARGUMENTS = ("\\import", "\\subimport", "\\inputfrom", "\\includefrom", "\\subinputfrom", "\\subincludefrom")


class Expander:
    """The tokens of a submission, from its main file on, as far as they are not about other tokens.

    Raises UnreadableError("too_complex") where expanding would not end.
    """

    def __init__(self, files: Files, main: str) -> None:
        self.files = files
        self.tokens = tokens = Tokens()
        self.definitions = Definitions(tokens)
        self.conditionals = Conditionals(tokens, self.definitions)
        self._macros = macros = self.definitions.macros
        self._commands = self.definitions.commands
        self._commands |= {
            **dict.fromkeys(_ONE_ARGUMENT, self._input),
            **dict.fromkeys(_TWO_ARGUMENTS, self._import),
            **dict.fromkeys(("\\usepackage", "\\RequirePackage"), self._packages),
            "\\InputIfFileExists": self._input_if_exists,
            "\\endinput": tokens.close,
            "\\makeatletter": lambda: self._at_letter(True),
            "\\makeatother": lambda: self._at_letter(False),
            "\\DefineVerbatimEnvironment": lambda: self._verbatim("mm"),
            "\\lstnewenvironment": lambda: self._verbatim("oomm"),
            "\\csname": self._csname,
            "\\expandafter": lambda: None,
            **dict.fromkeys(("\\advance", "\\multiply", "\\divide"), self._advance),
        }
        for name in ("catcode", "lccode", "uccode", "mathcode", "sfcode", "delcode", "count", "dimen", "skip"):
            self._commands[f"\\{name}"] = lambda: (number(tokens, macros), assigned(tokens, macros))
        for name in ("chardef", "mathchardef", "countdef", "dimendef", "skipdef", "toksdef"):
            self._commands[f"\\{name}"] = lambda: (tokens.unit(), assigned(tokens, macros))
        tokens.open(main, files.text(main))

    def next(self) -> str:
        """The next token that is text, maths or layout; "" behind the last."""
        tokens = self.tokens
        while (token := tokens.next())[:1] == "\\":
            if (command := self._commands.get(token)) is not None:
                tokens.skip_space()
                command()
            elif (macro := self._macros.get(token)) is not None:
                if token[-1].isalpha():
                    tokens.skip_space()
                tokens.push(macro.expand(tokens))
            else:
                break
        return token[1:] if token[:1] == FROZEN else token

    def _at_letter(self, on: bool) -> None:
        if self.tokens.frames:
            self.tokens.frames[-1].scanner.at_letter = on

    def _file_name(self) -> str:
        tokens = self.tokens
        if tokens.peek() == "{":
            return tokens.word()
        name, rest = _word_and_rest(tokens.next())
        while not rest and len(name) < MAX_NAME:
            token = tokens.next()
            if not token or token[0] in "\\{}$\x01":
                tokens.back(token)
                break
            more, rest = _word_and_rest(token)
            name += more
        tokens.back(rest)
        return name

    def _input(self) -> None:
        self._open(self._file_name())

    def _import(self) -> None:
        self.tokens.star()
        folder = self.tokens.word()
        self._open(f"{folder}/{self.tokens.word()}")

    def _open(self, name: str) -> bool:
        near = self.tokens.frames[-1].name if self.tokens.frames else ""
        path = self.files.find(name[:MAX_NAME], near)
        open_now = {frame.name for frame in self.tokens.frames}
        if path is None or path in open_now:  # a file within itself would never end
            return False
        self.tokens.open(path, self.files.text(path), at_letter=path.endswith(".sty"))
        return True

    def _input_if_exists(self) -> None:
        name = self.tokens.word()
        found, otherwise = self.tokens.argument(), self.tokens.argument()
        missing = set(self.files.missing)
        near = self.tokens.frames[-1].name if self.tokens.frames else ""
        exists = self.files.find(name[:MAX_NAME], near) is not None
        self.files.missing = missing  # it was asked for, not missed
        self.tokens.push(found if exists else otherwise)
        if exists:
            self._open(name)

    def _packages(self) -> None:
        """The macros of packages that the submission brings along."""
        self.tokens.optional()
        for name in self.tokens.word().split(",")[:MAX_NAME]:
            path = self.files.package(name)
            if path is not None:
                self.definitions.harvest(self.files.text(path))
        self.tokens.optional()

    def _verbatim(self, rest: str) -> None:
        self.tokens.verbatim.add(self.tokens.word())
        self.definitions.check()
        self.tokens.skip(rest)

    def _csname(self) -> None:
        parts: list[str] = []
        while (token := self.tokens.next()) and token != "\\endcsname" and len(parts) < MAX_NAME:
            parts.append(token)
        self.tokens.push(["\\" + "".join(parts)])

    def _advance(self) -> None:
        self.tokens.unit()
        self.tokens.skip_space()
        self.tokens.take("by")
        number(self.tokens, self._macros)


def _word_and_rest(token: str) -> tuple[str, str]:
    place = _SPACE.search(token)
    return (token[: place.start()], token[place.start() :]) if place else (token, "")
