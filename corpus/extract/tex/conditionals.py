r"""\if… \else \fi: which branch is read. A test that cannot be known here is false."""

import re

from corpus.document import UnreadableError
from corpus.extract.tex.macros import ABSENT, TRUE, Definitions
from corpus.extract.tex.numbers import number
from corpus.extract.tex.tokens import Tokens

_RELATION = re.compile(r"\s*([<>=])")
_NAMES = """ifx if ifcat ifnum ifdim ifodd ifcase ifmmode iftrue iffalse ifvmode ifhmode ifinner ifeof ifvoid
    ifhbox ifvbox ifdefined ifcsname ifpdf ifxetex ifluatex ifPDFTeX ifXeTeX ifpdftex ifLuaTeX iftutex ifptex unless"""
_PRIMITIVES = tuple(f"\\{name}" for name in _NAMES.split())
_ALWAYS = {"\\iftrue", "\\ifpdf", "\\ifPDFTeX", "\\ifpdftex"}
_IN_BRACES = ("\\ifthenelse", "\\iftoggle", "\\ifbool")  # whose branches are arguments
MAX_OPEN = 1000


class Conditionals:
    r"""The switches set so far (\newif, \newtoggle), and what the tests are read with."""

    def __init__(self, tokens: Tokens, definitions: Definitions) -> None:
        self._tokens, self._definitions = tokens, definitions
        self._switches = dict.fromkeys(_PRIMITIVES, False)
        self._open = 0  # whose \fi is to come
        self.commands = definitions.commands
        self.commands |= {
            **{name: lambda name=name: self._branch(name) for name in _PRIMITIVES},  # type: ignore[misc]
            "\\else": lambda: self._skip(to_else=False),
            "\\or": lambda: self._skip(to_else=False),
            "\\fi": self._close,
            "\\newif": self._newif,
            "\\ifthenelse": lambda: self._choose(self._thenelse(), 2),
            "\\IfNoValueTF": lambda: self._choose(tokens.argument() == [ABSENT], 2),
            "\\IfNoValueT": lambda: self._choose(tokens.argument() == [ABSENT], 1),
            "\\IfNoValueF": lambda: self._choose(tokens.argument() != [ABSENT], 1),
            "\\IfValueTF": lambda: self._choose(tokens.argument() != [ABSENT], 2),
            "\\IfValueT": lambda: self._choose(tokens.argument() != [ABSENT], 1),
            "\\IfBooleanTF": lambda: self._choose(tokens.argument() == [TRUE], 2),
            "\\IfBooleanT": lambda: self._choose(tokens.argument() == [TRUE], 1),
            "\\iftoggle": lambda: self._choose(self._switch(tokens.word()), 2),
            "\\ifbool": lambda: self._choose(self._switch(tokens.word()), 2),
            **dict.fromkeys(("\\newtoggle", "\\newboolean", "\\newbool"), lambda: self._set(tokens.word(), "false")),
            **dict.fromkeys(("\\toggletrue", "\\booltrue"), lambda: self._set(tokens.word(), "true")),
            **dict.fromkeys(("\\togglefalse", "\\boolfalse"), lambda: self._set(tokens.word(), "false")),
            **dict.fromkeys(
                ("\\setboolean", "\\settoggle", "\\setbool"), lambda: self._set(tokens.word(), tokens.word())
            ),
            "\\IfFileExists": self._file_exists,
        }

    def maths(self, inside: bool) -> None:
        r"""What \ifmmode is to say."""
        self._switches["\\ifmmode"] = inside

    def _branch(self, name: str) -> None:
        if name == "\\unless":
            negated = self._tokens.next()
            if negated in self._switches:
                self._read(not self._test(negated))
            return
        if name == "\\ifcase":
            case = int(number(self._tokens, self._definitions.macros))
            self._opened()
            while case > 0 and self._skip(to_else=True) == "\\or":
                case -= 1
            return
        self._read(self._test(name))

    def _read(self, holds: bool) -> None:
        self._opened()
        if not holds:
            self._skip(to_else=True)

    def _opened(self) -> None:
        self._open += 1
        if self._open > MAX_OPEN:
            raise UnreadableError("too_complex")

    def _close(self) -> None:
        self._open = max(self._open - 1, 0)

    def _test(self, name: str) -> bool:
        tokens, macros = self._tokens, self._definitions.macros
        if name in ("\\ifx", "\\if", "\\ifcat"):
            first, second = self._meant(), self._meant()
            undefined = ("\\undefined", "\\@undefined")
            if first in undefined or second in undefined:
                other = second if first in undefined else first
                return other not in macros
            known = macros.get(first), macros.get(second)
            return first == second or (known[0] is not None and known[0] == known[1])
        if name in ("\\ifnum", "\\ifdim"):
            left = number(self._tokens, self._definitions.macros)
            relation = _RELATION.match(token := tokens.next())
            if relation is None:
                tokens.back(token)
                return False
            tokens.back(token[relation.end() :])
            right = number(self._tokens, self._definitions.macros)
            return {"<": left < right, ">": left > right, "=": left == right}[relation[1]]
        if name == "\\ifodd":
            return int(number(self._tokens, self._definitions.macros)) % 2 == 1
        if name == "\\ifdefined":
            return self._meant() in macros
        if name in ("\\ifeof", "\\ifvoid", "\\ifhbox", "\\ifvbox"):
            number(self._tokens, self._definitions.macros)
        return name in _ALWAYS or self._switches.get(name, False)

    def _meant(self) -> str:
        token = self._tokens.unit()
        while token.isspace():
            token = self._tokens.unit()
        if token[-1:].isalpha() and len(token) > 1:
            self._tokens.skip_space()
        return token

    def _skip(self, to_else: bool) -> str:
        r"""Past the \fi that closes this branch, or to the \else (or \or) where reading goes on."""
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
            elif token.startswith("\\if") and token in self.commands and token not in _IN_BRACES:
                depth += 1
        return ""

    def _newif(self) -> None:
        self._tokens.skip_space()
        name = self._tokens.next()
        if name.startswith("\\if"):
            self._set(name[3:], "false")

    def _set(self, switch: str, value: str) -> None:
        name = f"\\if{switch}"
        if not switch or name in _PRIMITIVES:
            return
        self._definitions.check()
        self._switches[name] = value.strip().lower() == "true"
        self.commands[name] = lambda: self._branch(name)
        self.commands[f"\\{switch}true"] = lambda: self._switches.__setitem__(name, True)
        self.commands[f"\\{switch}false"] = lambda: self._switches.__setitem__(name, False)

    def _switch(self, name: str) -> bool:
        return self._switches.get(f"\\if{name}", False)

    def _thenelse(self) -> bool:
        test = self._tokens.argument()
        if test[:1] in (["\\boolean"], ["\\equal"]):
            self._tokens.push(test[1:])
            first = self._tokens.argument()
            return self._switch("".join(first)) if test[0] == "\\boolean" else first == self._tokens.argument()
        return False

    def _choose(self, first: bool, branches: int) -> None:
        chosen = self._tokens.argument()
        other = self._tokens.argument() if branches == 2 else []
        self._tokens.push(chosen if first else other)

    def _file_exists(self) -> None:
        self._tokens.skip_argument()
        self._choose(False, 2)
