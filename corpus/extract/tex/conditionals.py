r"""Conditionals: `\if… \else \fi`, and commands that choose among their arguments. An unknown test is false."""

import re
from collections.abc import Sequence
from functools import partial

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


class Conditionals:
    r"""Reads the branch that a test chooses. Keeps the values of switches (\newif, \newtoggle)."""

    def __init__(self, tokens: TokenStream, definitions: Definitions) -> None:
        self._tokens, self._definitions = tokens, definitions
        self._switches = dict.fromkeys(_PRIMITIVES, False)
        self._open = 0  # conditionals whose \fi is still to come
        self.commands = definitions.commands
        self.commands |= {name: partial(self._conditional, name) for name in _PRIMITIVES}
        definitions.add(
            ("else or", "", lambda: self._skip_branch(to_else=False)),
            ("fi", "", self._close),
            ("newif", "", self._newif),
            ("ifthenelse", "M", self._ifthenelse),
            ("iftoggle ifbool", "WMM", lambda name, yes, no: self._choose(self._switch(name), yes, no)),
            ("newtoggle newboolean newbool togglefalse boolfalse", "W", lambda name: self._set(name, False)),
            ("toggletrue booltrue", "W", lambda name: self._set(name, True)),
            ("setboolean settoggle setbool", "WW", lambda name, value: self._set(name, value.lower() == "true")),
            ("IfFileExists", "mMM", lambda yes, no: self._choose(False, yes, no)),
            # Tests of xparse's arguments.
            ("IfNoValueTF", "MMM", lambda value, yes, no: self._choose(value == [ABSENT], yes, no)),
            ("IfNoValueT", "MM", lambda value, yes: self._choose(value == [ABSENT], yes)),
            ("IfValueTF", "MMM", lambda value, yes, no: self._choose(value != [ABSENT], yes, no)),
            ("IfValueT IfNoValueF", "MM", lambda value, yes: self._choose(value != [ABSENT], yes)),
            ("IfBooleanTF", "MMM", lambda value, yes, no: self._choose(value == [TRUE], yes, no)),
            ("IfBooleanT", "MM", lambda value, yes: self._choose(value == [TRUE], yes)),
        )

    def set_math(self, inside: bool) -> None:
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
            self._set(name[3:], False)

    def _set(self, switch: str, value: bool) -> None:
        r"""Set a switch, and define its \if…, \…true and \…false."""
        name = f"\\if{switch}"
        if not switch or name in _PRIMITIVES:
            return
        self._definitions.check_size()
        self._switches[name] = value
        self.commands[name] = partial(self._conditional, name)
        self.commands[f"\\{switch}true"] = partial(self._switches.__setitem__, name, True)
        self.commands[f"\\{switch}false"] = partial(self._switches.__setitem__, name, False)

    def _switch(self, name: str) -> bool:
        return self._switches.get(f"\\if{name}", False)

    def _ifthenelse(self, test: list[str]) -> None:
        """Evaluate the test, if it is a boolean or a comparison of two strings; any other is false."""
        holds = False
        if test[:1] in (["\\boolean"], ["\\equal"]):
            self._tokens.push(test[1:])
            first = self._tokens.argument()
            boolean = test[0] == "\\boolean"
            holds = self._switch("".join(first)) if boolean else first == self._tokens.argument()
        self._choose(holds, self._tokens.argument(), self._tokens.argument())

    def _choose(self, holds: bool, yes: list[str], no: Sequence[str] = ()) -> None:
        self._tokens.push(yes if holds else [*no])
