"""LaTeX to text: prose as on the page, formulas as LaTeX."""

import pytest

from corpus.extract.latex_text import latex_text


def text_of(source: str, **files: str) -> str:
    """Return the text of a submission; the argument `other_tex` is the file other.tex."""
    encoded = {name.replace("_", "."): content.encode() for name, content in files.items()}
    return latex_text({"main.tex": source.encode(), **encoded}, "main.tex").text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\emph{big} {\bf bold} {\Large {deep}} \textsc{Caps}", "big bold deep Caps"),
        (
            "50\\% off % a comment\nnext line,\n   and % another\n\n  a new paragraph",
            "50% off next line, and\n\na new paragraph",
        ),
        ("one%\ntwo\\%three % \\% still a comment", "onetwo%three"),
        (r"\& \# \_ \$ \{ \} \dots{} \copyright{} \S{}3 x\slash y", "& # _ $ { } … © §3 x/y"),
        (r"\TeX{} and \LaTeX\ and \LaTeX is", "TeX and LaTeX and LaTeXis"),
        (r"``Quoted'' --- it's 1--2, `x', ?`Que? !`ay!", "“Quoted” — it’s 1–2, ‘x’, ¿Que? ¡ay!"),
        (r"Fig.~3, 10\,km, a\;b\quad c, super\-man, NASA\@.", "Fig. 3, 10 km, a b c, superman, NASA."),
        (r"\textcolor{red}{red} \href{http://a.b/%20c}{link} \url{http://x.y/~a_b%20}", "red link http://x.y/~a_b%20"),
        (r"a\hspace{1cm}b \vskip 3pt plus 1pt minus 2pt c \parindent=0pt d \setlength{\x}{3pt}e", "ab c d e"),
        (r"one\\two\\[2mm] three\newline four", "one\ntwo\nthree\nfour"),
        (r"\unknown[option]{kept} \other{a}{b} \alone text \dim=3pt x", "kept ab text x"),
        (r"a \verb|x_{%}\foo| b \verb+|+ c \lstinline|d_e|", "a x_{%}\\foo b | c d_e"),
        (
            r"\multicolumn{2}{c}{ab} \raisebox{1ex}{up} \texorpdfstring{$\beta$}{beta} \fcolorbox{a}{b}{boxed}",
            "ab up $\\beta$ boxed",
        ),
        (r"\index{hidden}shown\label{x} \thanks{nobody}", "shown"),
        (r"x \begin{comment}hidden\end{comment} y", "x y"),
        (r"a \char65 \char`\B \char'103 b", "a ABCb"),
    ],
)
def test_prose(source: str, expected: str) -> None:
    assert text_of(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"Erd\H{o}s G\"odel na\"{\i}ve Fran\c{c}ois \v{S}koda \'{E}cole", "Erdős Gödel naïve François Škoda École"),
        (
            r"Poincar\'e's \`a la \^\i{}le \~nandu \.Z \k{a} \r a \u{g} \=o \d{h}",
            "Poincaré’s à la île ñandu Ż ą å ğ ō ḥ",
        ),
        (r"\o re \ss{} \AA ngstr\"om \ae \OE uvre \L\'od\'z \i", "øre ß Ångström æŒuvre Łódź ı"),
        (r"\~{} \^{} \'{} \textasciitilde \textbackslash x", "~ ^ ´ ~\\x"),
        (r"\c c \c{} \"{ab}", "ç äb"),
    ],
)
def test_accents_and_letters(source: str, expected: str) -> None:
    assert text_of(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"$a$ \(b\) $ c\label{x} $", "$a$ $b$ $c$"),
        (r"Let $$x^2$$ and \[ y_1 \] be.", "Let\n$$x^2$$\nand\n$$y_1$$\nbe."),
        (
            "So\n\\begin{equation}\\label{e}\n  a = b, % why\n\n  c \\nonumber\n\\end{equation}\nfor",
            "So\n$$a = b,\nc$$\nfor",
        ),
        (
            "\\begin{align*}\n a &= b \\\\\n\n % c\n c &= d \\label{x} \\notag\n\\end{align*}",
            "\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}",
        ),
        (r"$x = \text{if $y$ holds}$ now", r"$x = \text{if $y$ holds}$ now"),
        (r"\begin{equation}\begin{split}a\\b\end{split}\tag{1}\end{equation}", r"$$\begin{split}a\\b\end{split}$$"),
        ("$never closed\n\nnext $ok$", "$never closed$\n\nnext $ok$"),
        (r"\ensuremath{x} and $\ensuremath{y}$", "$x$ and ${y}$"),
        (r"$\ifmmode m\else t\fi$ \ifmmode m\else t\fi", "$m$ t"),
        (r"\begin{eqnarray}a&=&b\end{eqnarray}", "\\begin{eqnarray}\na&=&b\n\\end{eqnarray}"),
        (r"$$ \begin{array}{c} a \\ b \end{array} $$", r"$$\begin{array}{c} a \\ b \end{array}$$"),
        (r"$1$--$n$ 3$^\text{rd}$", r"$1$–$n$ 3$^\text{rd}$"),
    ],
)
def test_formulas_stay_latex(source: str, expected: str) -> None:
    assert text_of(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"See~\cite{a}, \cite[p.~3]{b} and (\cite{c}; \citealt{d}).", "See."),
        (r"As \citet{e} said [\cite{f}], \citep*[see][p. 2]{g} so.", "As said so."),
        (r"Eq.~(\ref{e}) in Sections \ref{a} and~\ref{b}, Lemma \ref{c} (1).", "Eq. in Sections, Lemma (1)."),
        (r"text (see Section~\ref{s}, Fig.\ \ref{f}). (\S\ref{x}) and \S\ref{y}", "text."),
        (
            r"(e.g.\ AAN, \citet{x}), (\cite{y}, which) and f(x) [1] () (see this)",
            "(e.g. AAN), (which) and f(x) [1] () (see this)",
        ),
        (r"By \cref{a,b} and \autoref{c}: \eqref{d}--\eqref{e}", "By:"),
        ("end\n\\cite{x}.\n\\cite{y}\n\nnew", "end.\n\nnew"),
    ],
)
def test_citations_and_references_leave_no_gap(source: str, expected: str) -> None:
    assert text_of(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\begin{itemize}\item One\item[b)] Two\end{itemize}after", "- One\n- b) Two\n\nafter"),
        (
            r"\begin{enumerate}\item One\begin{itemize}\item deep\end{itemize}\item[(x)] own\item Two\end{enumerate}",
            "1. One\n- deep\n(x) own\n2. Two",
        ),
        (r"\begin{description}[style=x]\item[Term] means\end{description}", "- Term means"),
        (r"A.\footnote{Note \emph{x}.} B." + "\n\nC.", "A. B.\n\nNote x.\n\nC."),
        (
            r"A \begin{figure}[t]\includegraphics[width=3in]{f}\caption[s]{Cap $x$.}\label{f}\end{figure} c." + "\n\nD",
            "A c.\n\nCap $x$.\n\nD",
        ),
        (r"\begin{tabular}{cc}a&b\\c&d\end{tabular}after \begin{tikzpicture}\node{x};\end{tikzpicture}", "after"),
        (r"\begin{table*}\begin{tabular}{c}z\end{tabular}\caption{C}\end{table*}", "C"),
        ("a\n\\begin{verbatim}\n  \\def\\x{1} % y\n\n   z\n\\end{verbatim}\nb", "a\n  \\def\\x{1} % y\n\n   z\nb"),
        ("\\begin{lstlisting}[language=C]\nint x; // a\n\\end{lstlisting}", "int x; // a"),
        ("\\DefineVerbatimEnvironment{code}{Verbatim}{}\\begin{code}\n\\x%\n\\end{code}", "\\x%"),
        (
            r"\begin{lemma}[Main]\label{x} If.\end{lemma}\begin{proof}So.\qed\end{proof}",
            "Lemma (Main). If.\n\nProof. So.",
        ),
        (r"\begin{proof}[Proof of \emph{it}]So.\end{proof}", "Proof of it. So."),
        (r"\newtheorem{thm}{Satz}[section]\begin{thm}Wenn.\end{thm}", "Satz. Wenn."),
        (r"a\begin{quote}b\end{quote}c\begin{unknown}[x]d\end{unknown}", "a\n\nb\n\nc\n\nd"),
        (
            r"\section{One} a \subsection*{Two $x$\label{l}} b \paragraph{Three} c",
            "One\n\na\n\nTwo $x$\n\nb\n\nThree\n\nc",
        ),
        (
            r"a \section{Holds nothing}\section{References}\begin{thebibliography}{9}\bibitem{a}\end{thebibliography}",
            "a",
        ),
        (r"\section{A}\subsection{B}\section{C}\subsection{D}x\subsection{E}\section{F}y", "C\n\nD\n\nx\n\nF\n\ny"),
        (r"{\it unclosed\footnote{this too", "unclosed\n\nthis too"),
        (r"a \bibliography{b}\bibliographystyle{c}\printbibliography[x]", "a"),
    ],
)
def test_structure(source: str, expected: str) -> None:
    assert text_of(source) == expected


def test_document_with_title_abstract_and_body() -> None:
    preamble = r"\documentclass[a4]{x}\usepackage[b]{c}\newcommand{\me}{us}\title{On \me\thanks{paid}\\ and you}"
    preamble += r"\author{A \and B}\date{\today}\pagestyle{empty} stray words"
    body = r"\maketitle\begin{abstract}Short.\footnote{Very.}\end{abstract}\section{Start}Words."
    body += r"\appendix\section{More}End."
    expected = "On us and you\n\nAbstract\n\nShort.\n\nVery.\n\nStart\n\nWords.\n\nMore\n\nEnd."
    assert text_of(preamble + r"\begin{document}" + body + r"\end{document} \section{Behind} it") == expected


def test_abstract_in_the_preamble_and_title_in_the_body() -> None:
    source = r"\documentclass{x}\begin{abstract}Abs\end{abstract}\begin{document}\title[s]{T}Body\end{document}"
    assert text_of(source) == "Abstract\n\nAbs\n\nT\n\nBody"
    assert text_of(r"\abstract{Abs.} \section{S} body") == "Abstract\n\nAbs.\n\nS\n\nbody"


def test_preamble_commands_within_the_text_start_no_preamble() -> None:
    assert text_of(r"\begin{document}Use \verb|\documentclass| or \documentclass{x} here.\end{document}") == (
        "Use \\documentclass or here."
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9 \x93so\x94", "café “so”"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
        ("café".encode("utf-16"), "café"),
        (b"\\usepackage[latin1]{inputenc} caf\xe9", "café"),
        (b"\\usepackage[latin2]{inputenc} \xb1", "ą"),
        (b"% \\usepackage[latin2]{inputenc}\n\xb1", "±"),
        (b"\\usepackage[T1,koi8-r]{inputenc} \xc1", "а"),
        (b"a\rb\r\rc\r\nd\x00\x01", "a b\n\nc d"),
    ],
)
def test_encodings(content: bytes, expected: str) -> None:
    assert latex_text({"main.tex": content}, "main.tex").text == expected


def test_inputs_are_read_in_place() -> None:
    found = text_of(r"\input{a} 1 \input b 2 \include{c.tex} \subfile{d}", a_tex="A", b_tex="B", c_tex="C", d_tex="D")
    assert found == "A 1 B 2 C D"
    whole = r"\documentclass[main]{subfiles}\newcommand{\x}{X}\begin{document}part \x\end{document} behind"
    assert text_of(r"a \subfile{d} b \x", d_tex=whole) == "a part X b X"
    assert text_of(r"a \input{b} d", b_tex=r"b \iftrue\endinput\fi c") == "a b d"
    assert text_of(r"\begin{document}a \input{b} d", b_tex=r"b\end{document} c") == "a b"


def test_folders_and_missing_files() -> None:
    files = {
        "tex/main.tex": rb"\input{in/a} \import{in/}{b} \input{top} \input{none} \include{none} \input{epsf}",
        "tex/in/a.tex": rb"A \input{b}",
        "tex/in/b.tex": b"B",
        "top.tex": b"T",
    }
    found = latex_text(files, "tex/main.tex")
    assert found.text == "A B B T" and found.missing == ("none",)
    files["tex/main.tex"] = (
        rb"\InputIfFileExists{in/a}{yes }{no} \InputIfFileExists{gone}{yes}{no} \IfFileExists{x}{y}{z}"
    )
    assert latex_text(files, "tex/main.tex").missing == ()


def test_recursive_and_outside_inputs_are_not_read() -> None:
    found = latex_text({"main.tex": rb"a \input{main} \input{b} c", "b.tex": rb"b \input{main} \input{b}"}, "main.tex")
    assert found.text == "a b c" and found.missing == ()
    outside = rb"\input{/etc/passwd} \input{../../etc/passwd} \input{|ls} \import{/etc/}{passwd} \input{~/x}"
    found = latex_text({"main.tex": outside}, "main.tex")
    assert found.text == "" and len(found.missing) == 5


def test_macros_of_local_packages() -> None:
    package = (
        r"\ProvidesPackage{mine}\newcommand{\us}{We}\def\@inner{x}\newcommand{\them}[1]{\@inner{#1}}\def\section#1{no}"
    )
    source = r"\documentclass{a}\usepackage{other,mine}\begin{document}\us{} and \them{they}.\section{S}x\end{document}"
    assert text_of(source, mine_sty=package) == "We and they.\n\nS\n\nx"
