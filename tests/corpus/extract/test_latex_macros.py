"""Macros of a paper are expanded, and its conditionals evaluated, as TeX does."""

import pytest

from corpus.extract.latex_text import latex_text


def text_of(source: str) -> str:
    return latex_text({"main.tex": source.encode()}, "main.tex").text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\newcommand{\us}{We} \us{} go, \us\ go", "We go, We go"),
        (r"\newcommand\us{We}\renewcommand*{\us}{They}\us", "They"),
        (r"\newcommand{\pair}[2][x]{<#1|#2>}\pair{a} \pair[b]{c}", "<x|a> <b|c>"),
        (r"\def\R{\mathbb{R}} $\R^n$ $\R x$ $\forall\R$", r"$\mathbb{R}^n$ $\mathbb{R}x$ $\forall\mathbb{R}$"),
        (r"\def\a{\alpha} $\a x$ $\a 1$", r"$\alpha x$ $\alpha1$"),
        (r"\def\norm#1{\|#1\|} $\norm x \norm{yz}$", r"$\|x\| \|yz\|$"),
        (r"\def\to#1,#2;{#1 to #2}\to aa,{bb}; \def\in(#1){[#1]}\in(q)", "aa to bb [q]"),
        (r"\newcommand{\be}{\begin{equation}}\newcommand{\ee}{\end{equation}}Let \be x \ee be", "Let\n$$x$$\nbe"),
        (r"\newcommand{\bi}{\begin{itemize}}\newcommand{\ei}{\end{itemize}}\bi\item a\ei", "- a"),
        (r"\newcommand{\outer}[1]{\newcommand{\inner}[1]{#1##1}}\outer{a}\inner{b}", "ab"),
        (r"\let\oldphi\phi\let\phi\varphi\let\varphi\oldphi $\phi\varphi$", r"$\varphi\phi$"),
        (r"\let\x=\emph \x{a} \def\y{b}\let\z\y\def\y{c}\z\y", "a bc"),
        (r"\DeclareMathOperator{\Hom}{Hom} $\Hom(A)$", r"$\operatorname{Hom}(A)$"),
        (r"\DeclareMathOperator*{\argmin}{arg\,min} $\argmin_x$", r"$\operatorname*{arg\,min}_x$"),
        (r"\DeclarePairedDelimiter{\abs}{|}{|} $\abs{x} \abs*{y} \abs[\big]{z}$", "$|x| |y| |z|$"),
        (r"\newenvironment{note}[1]{(#1: }{)}a \begin{note}{n}b\end{note} c", "a (n: b) c"),
        (r"\def\claim{Claim. }\def\endclaim{Done.}\begin{claim}x \end{claim}", "Claim. x Done."),
        (r"\newenvironment{eq}{\begin{equation*}}{\end{equation*}}\begin{eq}x\end{eq}", "$$x$$"),
        (r"\NewDocumentCommand{\f}{s O{d} m}{\IfBooleanTF{#1}{S}{N} #2 #3}\f{a} \f*[b]{c}", "N d a S b c"),
        (r"\NewDocumentCommand{\f}{o m}{\IfNoValueTF{#1}{none}{#1} #2}\f{a} \f[b]{c}", "none a b c"),
        (r"\newcommand{\todo}[1]{}a \todo{hidden}b", "a b"),
        (r"\providecommand{\ss}{no}\providecommand{\own}{yes}\ss{} \own", "ß yes"),
        (r"\newcommand{\v}{\mathbf{v}}\renewcommand{\c}{C} $\v$ \c", r"$\mathbf{v}$ C"),
        (r"\renewcommand{\section}[1]{no}\renewcommand{\cite}[1]{no}\section{Yes} a \cite{b}", "Yes\n\na"),
        (r"\newcommand{\citeme}[1]{no}a \citeme{b} c", "a c"),
        (r"\expandafter\def\csname a b\endcsname{Q}\csname a b\endcsname", "Q"),
        (r"\makeatletter\def\my@x{i}\newcommand{\shown}[1]{\my@x{#1}}\makeatother\shown{arg} a@b", "arg a@b"),
        (r"\global\long\def\x#1{#1#1}\x{k}", "kk"),
        (
            r"\newcommand{\ours}{Ours\xspace}\ours is, \ours, \ours's \ours{} \ours (a)",
            "Ours is, Ours, Ours’s Ours Ours (a)",
        ),
    ],
)
def test_macros(source: str, expected: str) -> None:
    assert text_of(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\iffalse gone \ifx a b \else no \fi gone\fi kept", "kept"),
        (r"\iftrue yes\else no \iffalse\fi\fi.", "yes."),
        (r"\newif\ifdraft \ifdraft D\else F\fi \drafttrue\ifdraft D\else F\fi", "FD"),
        (r"\newif\ifdraft\ifdraft\iff a\fi $a\iff b$", r"$a\iff b$"),
        (r"\let\ifdraft\iftrue\ifdraft a\else b\fi\iffalse\ifdraft x\fi y\fi", "a"),
        (r"\ifnum1<2 lt\else ge\fi \ifnum 3=4 eq\else ne\fi", "ltne"),
        (r"\def\n{2}\ifcase\n zero\or one\or two\else more\fi \ifcase7 a\else b\fi", "twob"),
        (r"\ifx\undefined\nothing a\else b\fi\def\x{1}\def\y{1}\ifx\x\y c\fi\ifx\x\z d\else e\fi", "ace"),
        (r"\newboolean{b}\setboolean{b}{true}\ifthenelse{\boolean{b}}{yes}{no}\ifthenelse{\equal{a}{b}}{y}{n}", "yesn"),
        (r"\newtoggle{t}\iftoggle{t}{a}{b}\toggletrue{t}\iftoggle{t}{a}{b}", "ba"),
        ("\\def\\n{2}\\ifnum-\\n<-1 a\\fi\\ifnum-%\n-%\n3>2 b\\fi", "ab"),
        (r"\unless\iftrue a\else b\fi", "b"),
        (r"\catcode`\@=11 a \count0=3 b \advance\x by 3pt c \chardef\y=5 d", "a b c d"),
    ],
)
def test_conditionals(source: str, expected: str) -> None:
    assert text_of(source) == expected
