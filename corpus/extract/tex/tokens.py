"""Input stack of TeX: the tokens of files within files, and those that macros push back."""

from collections.abc import Iterator
from itertools import islice

from corpus.document import UnreadableError
from corpus.extract.tex.lexer import PAR, VERBATIM, Lexer

MAX_PUSHED = 1_000_000  # tokens that macros may push, besides one for each character of the main file
MAX_PUSHED_CHARACTERS = 10_000_000  # that macros may push, besides two for each character of the main file
MAX_WAITING = 1_000_000  # pushed tokens that wait to be read, or tokens of one argument: some 60 MB
MAX_FILES = 40  # within each other
FROZEN = "\x02"  # before a control sequence: its primitive meaning, even if it is redefined
_NOT_CHARACTERS = "\\\x01\x02"  # first characters of tokens that are not runs of text


class TokenStream:
    """Tokens in the order in which TeX reads them, before expansion.

    Raises UnreadableError("too_complex") if macros push more tokens or characters than the macros of any real paper.
    """

    def __init__(self) -> None:
        self.files: list[Lexer] = []  # the innermost last
        self.verbatim = set(VERBATIM)
        self._budget = MAX_PUSHED
        self._characters = MAX_PUSHED_CHARACTERS  # that may still be pushed

    def open(self, name: str, text: str, at_letter: bool = False) -> None:
        """Read a file's tokens before the rest of the current file."""
        if self.files:
            self._charge(len(text) // 4)  # a file may be input a million times
        else:
            self._budget += len(text)
            self._characters += 2 * len(text)
        if len(self.files) >= MAX_FILES:
            raise UnreadableError("too_complex")
        self.files.append(Lexer(name, text, at_letter, self.verbatim))

    def close(self) -> None:
        """Skip the rest of the innermost file."""
        if self.files:
            self.files.pop()

    def next(self) -> str:
        """Return the next token; "" at the end."""
        while self.files:
            file = self.files[-1]
            if file.waiting:
                return file.waiting.pop()
            if token := next(file.tokens, ""):
                return token
            self.files.pop()
        return ""

    def push(self, tokens: list[str]) -> None:
        """Put tokens in front of the stream, at the cost of the budget."""
        self._charge(len(tokens) + 1)
        self._characters -= sum(map(len, tokens))
        if self._characters < 0:
            raise UnreadableError("too_complex")
        waiting = self._waiting()
        if len(waiting) + len(tokens) > MAX_WAITING:
            raise UnreadableError("too_complex")
        waiting.extend(reversed(tokens))

    def back(self, token: str) -> None:
        """Put back a token that `next` returned, or the rest of it."""
        if token:
            self._waiting().append(token)

    def _waiting(self) -> list[str]:
        if not self.files:  # after the last token of the last file
            self.files.append(Lexer("", ""))
        return self.files[-1].waiting

    def _charge(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise UnreadableError("too_complex")

    def peek(self) -> str:
        """Return the next token without reading it."""
        token = self.next()
        self.back(token)
        return token

    def skip_space(self) -> None:
        """Skip spaces and single line ends, but no blank line."""
        while (token := self.next()) and token[0].isspace():
            if rest := token.lstrip():
                token = rest
                break
        self.back(token)

    def take(self, characters: str) -> bool:
        """Read these characters if they come next; return True if they did."""
        token = self.next()
        taken = token.startswith(characters) and token[0] not in _NOT_CHARACTERS
        self.back(token[len(characters) :] if taken else token)
        return taken

    def star(self) -> bool:
        """Read the star of a command if there is one; return True if there was."""
        return self.take("*")

    def unit(self) -> str:
        """Return the next token, or the next single character of a run."""
        token = self.next()
        if len(token) > 1 and token[0] != "#" and token[0] not in _NOT_CHARACTERS:
            self.back(token[1:])
            return token[0]
        return token

    def argument(self) -> list[str]:
        """Return an argument: a group without its braces, or a single token; empty at the end of a group."""
        tokens = list(islice(self._argument(), MAX_WAITING + 1))
        if len(tokens) > MAX_WAITING:
            raise UnreadableError("too_complex")
        return tokens

    def skip_argument(self) -> None:
        """Read an argument without keeping it."""
        for _ in self._argument():
            pass

    def _argument(self) -> Iterator[str]:
        self.skip_space()
        token = self.unit()
        if token in ("}", PAR):
            self.back(token)
        elif token and token != "{":
            yield token
        depth = 1 if token == "{" else 0
        while depth and (token := self.next()):
            depth += (token == "{") - (token == "}")
            if depth:
                yield token

    def optional(self) -> list[str] | None:
        """Return an argument in brackets; None if there is none, or if its bracket is not closed near by."""
        if not self.take("["):
            return None
        tokens: list[str] = []
        depth = nested = 0  # open braces, and open brackets within the argument
        while (token := self.next()) and len(tokens) < 2000 and token != PAR:
            depth += (token == "{") - (token == "}")
            if depth < 0:
                break
            if not depth and token[0] not in _NOT_CHARACTERS:
                for index, character in enumerate(token):
                    nested += (character == "[") - (character == "]")
                    if nested < 0:
                        self.back(token[index + 1 :])
                        return [*tokens, *([token[:index]] if index else [])]
            tokens.append(token)
        # The bracket is text: everything goes back.
        self.back(token)
        self.push(["[", *tokens])
        return None

    def skip(self, spec: str) -> None:
        """Skip arguments: `s` a star, `o` one in brackets, `m` one in braces."""
        readers = {"s": self.star, "o": self.optional, "m": self.skip_argument}
        for kind in spec:
            readers[kind]()

    def word(self) -> str:
        """Return an argument as a string: the name of a file or an environment."""
        return "".join(token.removeprefix("\x01i") for token in self.argument()).strip()

    def name(self) -> str:
        r"""Return the control sequence that is defined: `\name`, `{\name}` or `\csname name\endcsname`."""
        self.skip_space()
        if self.peek() == "{":
            given = [token for token in self.argument() if not token.isspace()]
            return given[0] if given else ""
        name = self.unit()
        if name != "\\csname":
            return name
        self.skip_space()
        return self.csname()

    def csname(self, limit: int = MAX_WAITING) -> str:
        r"""Return the control sequence that stands between `\csname`, which is read already, and `\endcsname`."""
        parts: list[str] = []
        while (token := self.next()) and token != "\\endcsname" and len(parts) < limit:
            parts.append(token)
        return "\\" + "".join(parts)
