"""The files of a submission as text: decoded, and found by the names that others call them by."""

import codecs
import posixpath
import re
from collections.abc import Mapping

_DECLARED = re.compile(
    rb"^[^%\n]{0,500}\\(?:usepackage\s*\[([\w ,-]{1,80})\]\s*\{inputenc\}|inputencoding\{(\w+)\})", re.M
)
_ENCODINGS = {  # inputenc's names. Source: inputenc.dtx; cp1252 holds all of latin1 but control characters
    **{"latin1": "cp1252", "ansinew": "cp1252", "cp1252": "cp1252", "latin2": "iso8859-2", "latin3": "iso8859-3"},
    **{"latin4": "iso8859-4", "latin5": "iso8859-9", "latin9": "iso8859-15", "latin10": "iso8859-16"},
    **{"applemac": "mac-roman", "macce": "mac-latin2", "cp1250": "cp1250", "cp1251": "cp1251", "cp1257": "cp1257"},
    **{"cp437": "cp437", "cp850": "cp850", "cp852": "cp852", "cp865": "cp865", "cp866": "cp866", "koi8-r": "koi8-r"},
    **{"koi8-u": "koi8-u", "ascii": "ascii", "utf8": "utf-8", "utf8x": "utf-8"},
}
# What every TeX system holds, and what its runs leave behind or draw: no part of the text is missing with them.
_GENERATED = re.compile(
    r"\.(?:sty|cls|clo|def|fd|cfg|ldf|bbl|aux|toc|lof|lot|ind|gls|glo|nls|out|pgf|tikz|eepic|epic|p[sd]f_?t(?:ex(?:_t)?)?"
    r"|pstex_t|latex|eps|pdf|png|gnuplot|table_t)\Z"
)
_PROVIDED = frozenset(
    (
        *("epsf", "epsfx", "psfig", "amstex", "amsppt", "amssym", "mssymb", "xy", "xypic", "pictex", "prepictex"),
        *("postpictex", "pstricks", "pst-node", "pst-plot", "harvmac", "lanlmac", "phyzzx", "tcilatex", "tikz"),
        *("miniltx", "graphicx", "color", "eplain", "glyphtounicode", "multido", "rotate", "cyracc", "texdraw"),
        *("revsymb", "tables", "epsfig", "pgf", "ulem", "supertabular", "boxedeps", "psbox", "blackdvi", "colordvi"),
    )
)
MAX_MISSING = 10_000


class Files:
    """A submission. Names lead nowhere but to its own files; `missing` are those that lead to none."""

    def __init__(self, files: Mapping[str, bytes], main: str) -> None:
        self._files, self._folder = files, posixpath.dirname(main)
        self.missing: set[str] = set()
        self._packages: set[str] = set()
        declared = _DECLARED.search(files[main])
        names = (declared[1] or declared[2]).decode("ascii", "replace").split(",") if declared else ["utf8"]
        self._encoding = _ENCODINGS.get(names[-1].strip(), "utf-8")

    def text(self, path: str) -> str:
        """The file as text: by its mark, as declared, as UTF-8, else as Windows reads Western text."""
        content = self._files[path]
        if content.startswith(codecs.BOM_UTF16_LE) or content.startswith(codecs.BOM_UTF16_BE):
            return content.decode("utf-16", "replace")
        for encoding in (self._encoding, "utf-8", "cp1252"):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
        return content.decode("latin-1")

    def find(self, name: str, near: str, extensions: tuple[str, ...] = (".tex", "", ".ltx")) -> str | None:
        """The path of the file that a file at `near` calls `name`; None, and noted, if there is none."""
        called = name.strip().strip('"').strip()
        for folder in dict.fromkeys((self._folder, posixpath.dirname(near), "")):
            path = posixpath.normpath(posixpath.join(folder, called))
            for extension in extensions:
                if path + extension in self._files:
                    return path + extension
        expected = posixpath.basename(called).removesuffix(".tex") not in _PROVIDED and not _GENERATED.search(called)
        if called and expected and len(self.missing) < MAX_MISSING:
            self.missing.add(called[:200])
        return None

    def package(self, name: str) -> str | None:
        """The path of a package that the submission brings along, the first time it is asked for."""
        path = posixpath.normpath(posixpath.join(self._folder, f"{name.strip()}.sty"))
        if path not in self._files or path in self._packages:
            return None
        self._packages.add(path)
        return path
