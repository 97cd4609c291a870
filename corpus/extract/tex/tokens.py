"""The stream of tokens that TeX would see: files within files, and what macros put back in front."""

from collections.abc import Iterator
from typing import NamedTuple

from corpus.document import UnreadableError
from corpus.extract.tex.scan import PAR, VERBATIM, Scanner

MAX_PUSHED = 1_000_000  # tokens that macros may make, beside one for each character of the files
MAX_WAITING = 1_000_000  # tokens in front of a file, or in one argument: some 60 MB
MAX_FILES = 40  # within each other
FROZEN = "\x02"  # before a control sequence: its first meaning, whatever it was defined as since


class _Frame(NamedTuple):
    name: str
    scanner: Scanner
    tokens: Iterator[str]
    waiting: list[str]  # in front of the file's own tokens, last first


class Tokens:
    """What is read next. Raises UnreadableError("too_complex") where macros make more than a paper's macros do."""

    def __init__(self) -> None:
        self.frames: list[_Frame] = []
        self.verbatim = set(VERBATIM)  # the environments that are read letter by letter
        self._left = MAX_PUSHED

    def open(self, name: str, text: str, at_letter: bool = False) -> None:
        """The file's tokens come next, before what is left."""
        self._charge(0 if not self.frames else len(text) // 4)  # a file may be named a million times
        self._left += 0 if self.frames else len(text)
        if len(self.frames) >= MAX_FILES:
            raise UnreadableError("too_complex")
        scanner = Scanner(text, at_letter, self.verbatim)
        self.frames.append(_Frame(name, scanner, iter(scanner), []))

    def close(self) -> None:
        """Leaves the rest of the innermost file."""
        if self.frames:
            self.frames.pop()

    def next(self) -> str:
        """The next token; "" behind the last."""
        while self.frames:
            frame = self.frames[-1]
            if frame.waiting:
                return frame.waiting.pop()
            if token := next(frame.tokens, ""):
                return token
            self.frames.pop()
        return ""

    def push(self, tokens: list[str]) -> None:
        """These come next."""
        self._charge(len(tokens) + 1)
        waiting = self._waiting()
        if len(waiting) + len(tokens) > MAX_WAITING:
            raise UnreadableError("too_complex")
        waiting.extend(reversed(tokens))

    def back(self, token: str) -> None:
        """Undoes `next`."""
        if token:
            self._waiting().append(token)

    def _waiting(self) -> list[str]:
        if not self.frames:  # what follows the last file's last token
            self.frames.append(_Frame("", Scanner(""), iter(()), []))
        return self.frames[-1].waiting

    def _charge(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise UnreadableError("too_complex")

    def peek(self) -> str:
        """The next token, left where it is."""
        token = self.next()
        self.back(token)
        return token

    def skip_space(self) -> bool:
        """Passes over spaces, not over a blank line; tells whether there were any."""
        found = False
        while (token := self.next()) and token[0].isspace():
            found = True
            if rest := token.lstrip():
                token = rest
                break
        self.back(token)
        return found

    def take(self, character: str) -> bool:
        """Passes over this character, if it comes next."""
        token = self.next()
        if token.startswith(character) and token[0] not in "\\\x01\x02":
            self.back(token[len(character) :])
            return True
        self.back(token)
        return False

    def unit(self) -> str:
        """The next token, or the next single character of a run."""
        token = self.next()
        if len(token) > 1 and token[0] not in "\\#\x01\x02":
            self.back(token[1:])
            return token[0]
        return token

    def argument(self) -> list[str]:
        """A group without its braces, or a single token; nothing where a group ends instead."""
        self.skip_space()
        token = self.unit()
        if token == "{":
            return self._group()
        if token == "}" or token == PAR:
            self.back(token)
            return []
        return [token] if token else []

    def _group(self) -> list[str]:
        found: list[str] = []
        depth = 1
        while token := self.next():
            if token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
                if not depth:
                    break
            found.append(token)
            if len(found) > MAX_WAITING:
                raise UnreadableError("too_complex")
        return found

    def skip_argument(self) -> None:
        """The same, without keeping it."""
        self.skip_space()
        if (token := self.unit()) in ("}", PAR):
            self.back(token)
        depth = 1 if token == "{" else 0
        while depth and (token := self.next()):
            depth += (token == "{") - (token == "}")

    def optional(self, opening: str = "[", closing: str = "]") -> list[str] | None:
        """What stands in brackets, if they come next; a bracket that is not closed near by is text."""
        if not self.take(opening):
            return None
        found: list[str] = []
        depth = nested = 0
        while (token := self.next()) and len(found) < 2000 and token != PAR:
            depth += (token == "{") - (token == "}")
            if depth < 0:
                break
            if depth or token[0] in "\\\x01\x02":
                found.append(token)
                continue
            for place, character in enumerate(token):
                nested += (character == opening) - (character == closing)
                if nested < 0:
                    self.back(token[place + 1 :])
                    return [*found, *([token[:place]] if place else [])]
            found.append(token)
        self.back(token)
        self.push([opening, *found])
        return None

    def skip(self, spec: str) -> None:
        """Passes over arguments: `s` a star, `o` one in brackets, `m` one in braces."""
        for kind in spec:
            if kind == "s":
                self.star()
            elif kind == "o":
                self.optional()
            else:
                self.skip_argument()

    def star(self) -> bool:
        """Whether the command was written with a star."""
        return self.take("*")

    def word(self) -> str:
        """An argument as plain letters: a file's, an environment's name."""
        return "".join(token.removeprefix("\x01i") for token in self.argument()).strip()
