"""Expansion of a submission: its files as text, and their tokens after macros, definitions, inputs and conditionals."""

import codecs
import posixpath
import re
from collections.abc import Mapping

from corpus.extract.tex.conditionals import Conditionals
from corpus.extract.tex.definitions import Definitions
from corpus.extract.tex.macros import read_assignment, read_number
from corpus.extract.tex.tokens import FROZEN, TokenStream

MAX_NAME = 300  # of a file, in characters
MAX_MISSING = 10_000
_DECLARED = re.compile(
    rb"^[^%\n]{0,500}\\(?:usepackage\s*\[([\w ,-]{1,80})\]\s*\{inputenc\}|inputencoding\{(\w+)\})", re.M
)
_ENCODINGS = {  # names of inputenc. Source: inputenc.dtx; cp1252 is latin1 with letters for its control characters
    **{"latin1": "cp1252", "ansinew": "cp1252", "cp1252": "cp1252", "latin2": "iso8859-2", "latin3": "iso8859-3"},
    **{"latin4": "iso8859-4", "latin5": "iso8859-9", "latin9": "iso8859-15", "latin10": "iso8859-16"},
    **{"applemac": "mac-roman", "macce": "mac-latin2", "cp1250": "cp1250", "cp1251": "cp1251", "cp1257": "cp1257"},
    **{"cp437": "cp437", "cp850": "cp850", "cp852": "cp852", "cp865": "cp865", "cp866": "cp866", "koi8-r": "koi8-r"},
    **{"koi8-u": "koi8-u", "ascii": "ascii", "utf8": "utf-8", "utf8x": "utf-8"},
}
# Files that a run of TeX or a drawing program writes, and below those that every TeX system has: they hold no text.
_GENERATED = re.compile(
    r"\.(?:sty|cls|clo|def|fd|cfg|ldf|bbl|aux|toc|lof|lot|ind|gls|glo|nls|out|pgf|tikz|eepic|epic|p[sd]f_?t(?:ex(?:_t)?)?"
    r"|pstex_t|latex|eps|pdf|png|gnuplot|table_t)\Z"
)
_DISTRIBUTED = """epsf epsfx psfig amstex amsppt amssym mssymb xy xypic pictex prepictex postpictex pstricks pst-node
    pst-plot harvmac lanlmac phyzzx tcilatex tikz miniltx graphicx color eplain glyphtounicode multido rotate cyracc
    texdraw revsymb tables epsfig pgf ulem supertabular boxedeps psbox blackdvi colordvi"""
_IN_EVERY_TEX = frozenset(_DISTRIBUTED.split())

_SPACE = re.compile(r"\s")
_ONE_ARGUMENT = ("\\input", "\\include", "\\subfile", "\\subfileinclude", "\\@input")
_TWO_ARGUMENTS = ("\\import", "\\subimport", "\\inputfrom", "\\includefrom", "\\subinputfrom", "\\subincludefrom")
_CODES = ("\\catcode", "\\lccode", "\\uccode", "\\mathcode", "\\sfcode", "\\delcode")
_REGISTERS = (*_CODES, "\\count", "\\dimen", "\\skip")
_REGISTER_NAMES = ("\\chardef", "\\mathchardef", "\\countdef", "\\dimendef", "\\skipdef", "\\toksdef")


class SubmissionFiles:
    """Files of a submission. No name leads to a file outside; names of files that it lacks are in `missing`."""

    def __init__(self, files: Mapping[str, bytes], main: str) -> None:
        self._files, self._folder = files, posixpath.dirname(main)
        self.missing: set[str] = set()
        self._packages: set[str] = set()
        declared = _DECLARED.search(files[main])
        names = (declared[1] or declared[2]).decode("ascii", "replace").split(",") if declared else ["utf8"]
        self._encoding = _ENCODINGS.get(names[-1].strip(), "utf-8")

    def text(self, path: str) -> str:
        """Decode a file by its byte order mark, the declared encoding, UTF-8, or Windows' Western encoding."""
        content = self._files[path]
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16", "replace")
        for encoding in (self._encoding, "utf-8", "cp1252"):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
        return content.decode("latin-1")

    def find(self, name: str, near: str) -> str | None:
        """Return the path of the file that the file at `near` calls `name`; None, noting it as missing, if absent."""
        called = name.strip().strip('"').strip()
        for folder in dict.fromkeys((self._folder, posixpath.dirname(near), "")):
            path = posixpath.normpath(posixpath.join(folder, called))
            for extension in (".tex", "", ".ltx"):
                if path + extension in self._files:
                    return path + extension
        expected = posixpath.basename(called).removesuffix(".tex") not in _IN_EVERY_TEX and not _GENERATED.search(
            called
        )
        if called and expected and len(self.missing) < MAX_MISSING:
            self.missing.add(called[:200])
        return None

    def package(self, name: str) -> str | None:
        """Return the path of a package of the submission; None for one that is not there or was returned before."""
        path = posixpath.normpath(posixpath.join(self._folder, f"{name.strip()}.sty"))
        if path not in self._files or path in self._packages:
            return None
        self._packages.add(path)
        return path


class Expander:
    """Tokens of a submission from its main file on, after expansion.

    Raises UnreadableError("too_complex") if expansion does not end.
    """

    def __init__(self, files: SubmissionFiles, main: str) -> None:
        self.files = files
        self.tokens = tokens = TokenStream()
        self.definitions = Definitions(tokens)
        self.conditionals = Conditionals(tokens, self.definitions)
        self._macros = self.definitions.macros
        self._commands = self.definitions.commands
        self._commands |= {
            **dict.fromkeys(_ONE_ARGUMENT, lambda: self._open(self._file_name())),
            **dict.fromkeys(_TWO_ARGUMENTS, self._import),
            **dict.fromkeys(("\\usepackage", "\\RequirePackage"), self._packages),
            "\\InputIfFileExists": self._input_if_exists,
            "\\endinput": tokens.close,
            "\\makeatletter": lambda: self._at_letter(True),
            "\\makeatother": lambda: self._at_letter(False),
            "\\DefineVerbatimEnvironment": lambda: self._new_verbatim("mm"),
            "\\lstnewenvironment": lambda: self._new_verbatim("oomm"),
            "\\csname": lambda: tokens.push([tokens.csname(MAX_NAME)]),
            "\\expandafter": lambda: None,
            **dict.fromkeys(("\\advance", "\\multiply", "\\divide"), self._advance),
            **dict.fromkeys(_REGISTERS, self._set_register),
            **dict.fromkeys(_REGISTER_NAMES, self._name_register),
        }
        tokens.open(main, files.text(main))

    def next(self) -> str:
        """Return the next token that cannot be expanded: text, maths or layout; "" at the end."""
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
        if self.tokens.files:
            self.tokens.files[-1].lexer.at_letter = on

    def _file_name(self) -> str:
        """Read the name behind \\input: in braces, or up to a space."""
        tokens = self.tokens
        if tokens.peek() == "{":
            return tokens.word()
        name = ""
        while len(name) < MAX_NAME:
            token = tokens.next()
            if not token or (name and token[0] in "\\{}$\x01"):
                tokens.back(token)
                break
            space = _SPACE.search(token)
            if space:
                tokens.back(token[space.start() :])
                return name + token[: space.start()]
            name += token
        return name

    def _import(self) -> None:
        self.tokens.star()
        folder = self.tokens.word()
        self._open(f"{folder}/{self.tokens.word()}")

    def _find(self, name: str) -> str | None:
        return self.files.find(name[:MAX_NAME], self.tokens.files[-1].name if self.tokens.files else "")

    def _open(self, name: str) -> None:
        path = self._find(name)
        if path is not None and all(file.name != path for file in self.tokens.files):  # a file in itself never ends
            self.tokens.open(path, self.files.text(path), at_letter=path.endswith(".sty"))

    def _input_if_exists(self) -> None:
        name = self.tokens.word()
        present, absent = self.tokens.argument(), self.tokens.argument()
        missing = set(self.files.missing)
        exists = self._find(name) is not None
        self.files.missing = missing  # a file that need not exist is not missing
        self.tokens.push(present if exists else absent)
        if exists:
            self._open(name)

    def _packages(self) -> None:
        """Read the definitions of packages that are files of the submission."""
        self.tokens.optional()
        for name in self.tokens.word().split(",")[:MAX_NAME]:
            path = self.files.package(name)
            if path is not None:
                self.definitions.read_package(self.files.text(path))
        self.tokens.optional()

    def _new_verbatim(self, rest: str) -> None:
        self.tokens.verbatim.add(self.tokens.word())
        self.definitions.check_size()
        self.tokens.skip(rest)

    def _set_register(self) -> None:
        read_number(self.tokens, self._macros)
        read_assignment(self.tokens, self._macros)

    def _name_register(self) -> None:
        self.tokens.unit()
        read_assignment(self.tokens, self._macros)

    def _advance(self) -> None:
        self.tokens.unit()
        self.tokens.skip_space()
        self.tokens.take("by")
        read_number(self.tokens, self._macros)
