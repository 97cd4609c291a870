r"""Conditionals: `\if… \else \fi`, and commands that choose among their arguments. An unknown test is false."""

import re

from corpus.document import UnreadableError
from corpus.extract.tex.definitions import Definitions
from corpus.extract.tex.macros import ABSENT, TRUE, read_number
from corpus.extract.tex.tokens import TokenStream

_RELATION = re.compile(r"\s*([<>=])")
_NAMES = """ifx if ifcat ifnum ifdim ifodd ifcase ifmmode iftrue iffalse ifvmode ifhmode ifinner ifeof ifvoid
    ifhbox ifvbox ifdefined ifcsname ifpdf ifxetex ifluatex ifPDFTeX ifXeTeX ifpdftex ifLuaTeX iftutex ifptex unless"""
_PRIMITIVES = tuple(f"\\{name}" for name in _NAMES.split())
_ALWAYS_TRUE = {"\\iftrue", "\\ifpdf", "\\ifPDFTeX", "\\ifpdftex"}
_WITHOUT_FI = ("\\ifthenelse", "\\iftoggle", "\\ifbool")  # their branches are arguments
MAX_OPEN = 1000
# Tests of xparse's arguments: the value that is compared, the result if it is equal, and the number of branches.
_ARGUMENT_TESTS = {
    "\\IfNoValueTF": (ABSENT, True, 2),
    "\\IfNoValueT": (ABSENT, True, 1),
    "\\IfNoValueF": (ABSENT, False, 1),
    "\\IfValueTF": (ABSENT, False, 2),
    "\\IfValueT": (ABSENT, False, 1),
    "\\IfBooleanTF": (TRUE, True, 2),
    "\\IfBooleanT": (TRUE, True, 1),
}


class Conditionals:
    r"""Reads the branch that a test chooses. Keeps the values of switches (\newif, \newtoggle)."""

    def __init__(self, tokens: TokenStream, definitions: Definitions) -> None:
        self._tokens, self._definitions = tokens, definitions
        self._switches = dict.fromkeys(_PRIMITIVES, False)
        self._open = 0  # conditionals whose \fi is still to come
        self.commands = definitions.commands
        self.commands |= {
            **{name: lambda name=name: self._conditional(name) for name in _PRIMITIVES},  # type: ignore[misc]
            **{name: lambda test=test: self._argument_test(*test) for name, test in _ARGUMENT_TESTS.items()},  # type: ignore[misc]
            **dict.fromkeys(("\\else", "\\or"), lambda: self._skip_branch(to_else=False)),
            "\\fi": self._close,
            "\\newif": self._newif,
            "\\ifthenelse": lambda: self._choose(self._thenelse(), 2),
            **dict.fromkeys(("\\iftoggle", "\\ifbool"), lambda: self._choose(self._switch(tokens.word()), 2)),
            **dict.fromkeys(("\\newtoggle", "\\newboolean", "\\newbool"), lambda: self._set(tokens.word(), "false")),
            **dict.fromkeys(("\\toggletrue", "\\booltrue"), lambda: self._set(tokens.word(), "true")),
            **dict.fromkeys(("\\togglefalse", "\\boolfalse"), lambda: self._set(tokens.word(), "false")),
            **dict.fromkeys(("\\setboolean", "\\settoggle", "\\setbool"), self._set_switch),
            "\\IfFileExists": self._file_exists,
        }

    def set_maths(self, inside: bool) -> None:
        r"""Set the value of \ifmmode."""
        self._switches["\\ifmmode"] = inside

    def _conditional(self, name: str) -> None:
        if name == "\\unless":
            negated = self._tokens.next()
            if negated in self._switches:
                self._enter(not self._test(negated))
        elif name == "\\ifcase":
            case = int(self._number())
            self._enter(True)
            while case > 0 and self._skip_branch(to_else=True) == "\\or":
                case -= 1
        else:
            self._enter(self._test(name))

    def _enter(self, holds: bool) -> None:
        self._open += 1
        if self._open > MAX_OPEN:
            raise UnreadableError("too_complex")
        if not holds:
            self._skip_branch(to_else=True)

    def _close(self) -> None:
        self._open = max(self._open - 1, 0)

    def _test(self, name: str) -> bool:
        macros = self._definitions.macros
        if name in ("\\ifx", "\\if", "\\ifcat"):
            first, second = self._operand(), self._operand()
            undefined = ("\\undefined", "\\@undefined")
            if first in undefined or second in undefined:
                return (second if first in undefined else first) not in macros
            return first == second or (first in macros and macros[first] == macros.get(second))
        if name in ("\\ifnum", "\\ifdim"):
            return self._comparison()
        if name == "\\ifodd":
            return int(self._number()) % 2 == 1
        if name == "\\ifdefined":
            return self._operand() in macros
        if name in ("\\ifeof", "\\ifvoid", "\\ifhbox", "\\ifvbox"):
            self._number()
        return name in _ALWAYS_TRUE or self._switches.get(name, False)

    def _comparison(self) -> bool:
        left = self._number()
        relation = _RELATION.match(token := self._tokens.next())
        self._tokens.back(token[relation.end() :] if relation else token)
        if relation is None:
            return False
        right = self._number()
        return {"<": left < right, ">": left > right, "=": left == right}[relation[1]]

    def _number(self) -> float:
        return read_number(self._tokens, self._definitions.macros)

    def _operand(self) -> str:
        token = self._tokens.unit()
        while token.isspace():
            token = self._tokens.unit()
        if token[-1:].isalpha() and len(token) > 1:
            self._tokens.skip_space()
        return token

    def _skip_branch(self, to_else: bool) -> str:
        r"""Skip to the \fi of the conditional or, if `to_else`, to its next \else or \or; return what was reached."""
        depth = 0
        while token := self._tokens.next():
            if token == "\\fi":
                if not depth:
                    self._close()
                    self._tokens.skip_space()
                    return token
                depth -= 1
            elif token in ("\\else", "\\or"):
                if to_else and not depth:
                    self._tokens.skip_space()
                    return token
            elif token.startswith("\\if") and token in self.commands and token not in _WITHOUT_FI:
                depth += 1
        return ""

    def _newif(self) -> None:
        self._tokens.skip_space()
        name = self._tokens.next()
        if name.startswith("\\if"):
            self._set(name[3:], "false")

    def _set_switch(self) -> None:
        self._set(self._tokens.word(), self._tokens.word())

    def _set(self, switch: str, value: str) -> None:
        r"""Set a switch, and define its \if…, \…true and \…false."""
        name = f"\\if{switch}"
        if not switch or name in _PRIMITIVES:
            return
        self._definitions.check_size()
        self._switches[name] = value.strip().lower() == "true"
        self.commands[name] = lambda: self._conditional(name)
        self.commands[f"\\{switch}true"] = lambda: self._switches.__setitem__(name, True)
        self.commands[f"\\{switch}false"] = lambda: self._switches.__setitem__(name, False)

    def _switch(self, name: str) -> bool:
        return self._switches.get(f"\\if{name}", False)

    def _thenelse(self) -> bool:
        r"""Evaluate the test of \ifthenelse, if it is a boolean or a comparison of two strings."""
        test = self._tokens.argument()
        if test[:1] in (["\\boolean"], ["\\equal"]):
            self._tokens.push(test[1:])
            first = self._tokens.argument()
            return self._switch("".join(first)) if test[0] == "\\boolean" else first == self._tokens.argument()
        return False

    def _argument_test(self, value: str, result: bool, branches: int) -> None:
        self._choose((self._tokens.argument() == [value]) == result, branches)

    def _choose(self, first: bool, branches: int) -> None:
        """Read one or two branches and push the chosen one."""
        chosen = self._tokens.argument()
        other = self._tokens.argument() if branches == 2 else []
        self._tokens.push(chosen if first else other)

    def _file_exists(self) -> None:
        self._tokens.skip_argument()
        self._choose(False, 2)
