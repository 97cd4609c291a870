r"""Tables of LaTeX's commands and environments: which of their arguments are text.

An argument is `s` (a star), `o` (in brackets, not text), `m` (in braces, not text), `k` (in braces, text) or `=` (a
length or number, as in `\hsize=3in` and `\vskip 3pt`). For a command in no table, only the name is dropped; the content
of its braces is text.
"""

import re

SECTIONS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
SECTIONS |= {"subparagraph": 6, "addchap": 1, "addsec": 2, "subsubsubsection": 5}

MATH_ENVIRONMENTS = {  # True for a single formula, which is written between $$; others keep their name
    **dict.fromkeys(("equation", "displaymath", "dmath", "math"), True),
    **dict.fromkeys(("align", "alignat", "flalign", "xalignat", "xxalignat", "aligned"), False),
    **dict.fromkeys(("gather", "multline", "eqnarray", "dgroup", "split", "empheq", "IEEEeqnarray"), False),
}
_FLOATS = """figure figure* table table* wrapfigure wraptable sidewaysfigure sidewaystable sidewaysfigure*
    sidewaystable* SCfigure SCtable floatingfigure longtable longtable* supertabular teaserfigure deluxetable
    deluxetable* marginfigure margintable subfigure subtable subfloat figwindow tabwindow"""
_PICTURES_AND_TABLES = """tabular tabular* tabularx tabulary tabu NiceTabular tblr array tikzpicture tikzcd pspicture
    pspicture* picture axis overpic forest asy fmffile fmfgraph fmfgraph* feynman feynmandiagram circuitikz xy diagram
    pgfpicture thebibliography references biblist bibdiv bibsection theindex acronym glossary nomenclature"""
DROPPED_ENVIRONMENTS = frozenset(f"{_FLOATS} {_PICTURES_AND_TABLES}".split())
_THEOREMS = """theorem lemma proposition corollary definition remark remarks example examples conjecture claim
    observation assumption exercise problem question fact notation situation axiom hypothesis proof solution"""
THEOREMS = {name: name.capitalize() for name in _THEOREMS.split()}
ENVIRONMENTS = {  # arguments after \\begin{…}
    **dict.fromkeys(("minipage", "adjustwidth"), "oom"),
    **dict.fromkeys(("multicols", "multicols*", "spacing", "adjustbox", "otherlanguage", "otherlanguage*"), "m"),
    **dict.fromkeys(("list", "CJK", "CJK*", "textblock"), "mm"),
}

_BY_ARGUMENTS = {
    "": """tableofcontents listoffigures listoftables printindex makeindex centering noindent indent newpage clearpage
        cleardoublepage bigskip medskip smallskip raggedright raggedleft appendix frontmatter mainmatter backmatter
        onecolumn twocolumn phantomsection qed qedhere relax protect null ignorespaces unskip leavevmode sloppy fussy
        normalsize small footnotesize scriptsize tiny large Large LARGE huge Huge bfseries itshape rmfamily sffamily
        ttfamily mdseries upshape slshape scshape normalfont em bf it rm sf tt sl sc cal boldmath unboldmath today
        begingroup endgroup bgroup egroup global long outer immediate noexpand nonumber notag displaystyle textstyle
        limits hline toprule midrule bottomrule bye balance doublespacing singlespacing onehalfspacing flushbottom
        raggedbottom vfill vfil vss nobreak break goodbreak filbreak eject footnoterule printglossaries allowbreak
        newblock loop repeat vrule hrule maketitle""",
    "o": """linebreak nolinebreak pagebreak nopagebreak footnotemark printbibliography allowdisplaybreaks listoftodos
        linenumbers""",
    "m": """label bibliography bibliographystyle nocite pagestyle thispagestyle pagenumbering hyphenation graphicspath
        usetikzlibrary usepgfplotslibrary index phantom hphantom vphantom email date thanks preprint pacs inst
        authorrunning titlerunning institute runningtitle runningauthor runninghead shorttitle shortauthors
        theoremstyle newcount newdimen newskip newtoks newlength newsavebox usebox newwrite newread stepcounter
        refstepcounter usecounter value arabic roman alph Alph Roman fnsymbol lhead rhead chead lfoot rfoot cfoot
        setcitestyle hypersetup captionsetup lstset pgfplotsset tikzset nobibliography orcid orcidID ead sisetup
        geometry mathtoolsset newtoggle toggletrue togglefalse newboolean DeclareGraphicsExtensions urlstyle
        makesavenoteenv altaffilmark citestyle addbibresource acmDOI acmISBN acmYear acmPrice
        copyrightyear setcopyright settopmatter AtBeginDocument AtEndDocument cline special verbatiminput setstretch
        selectlanguage pdfinfo sectionmark linespread orcidlink bibliographyunit""",
    "mm": """setlength addtolength setcounter addtocounter settowidth settoheight settodepth markboth colorlet plottwo
        PassOptionsToPackage setboolean crefname Crefname addtocontents DeclareUnicodeCharacter newunicodechar SetKw
        SetKwInOut setkomafont addtokomafont fontsize renewbibmacro lstdefinestyle""",
    "mmm": "definecolor addcontentsline DeclareFontFamily",
    "mmmm": "titleclass",
    "mmmmm": "SetSymbolFont DeclareSymbolFont DeclareMathAlphabet",
    "mmmmmm": "DeclareFontShape",
    "om": """author affiliation affil address altaffiliation altaddress homepage institution includegraphics subjclass
        includestandalone lstinputlisting includepdf cortext fntext tnotetext dedicatory curraddr urladdr
        bibitem todo tikz missingfigure cmidrule received accepted revised published collaboration
        correspondingauthor phone color rowcolor cellcolor columncolor ccsdesc fancyhead fancyfoot fancyhf
        epsfig psfig epsfbox epsffile plotone orcidauthor""",
    "omm": "rule pdfbookmark newfloat DeclareFieldFormat",
    "omo": "setmainfont",
    "omom": "lstdefinelanguage",
    "omoom": "newtcolorbox",
    "mo": "newcounter",
    "mom": "newcolumntype",
    "sm": "vspace hspace addvspace",
    "smm": "numberwithin counterwithin counterwithout",
    "smmmm": "titlespacing",
    "smommmm": "titleformat",
    "=": """hsize vsize parindent parskip textwidth textheight oddsidemargin evensidemargin topmargin headheight headsep
        footskip baselineskip columnsep topskip vskip hskip kern hoffset voffset magnification tolerance hbadness
        vbadness hfuzz vfuzz abovedisplayskip belowdisplayskip abovedisplayshortskip belowdisplayshortskip mskip
        raise lower moveleft moveright penalty interlinepenalty clubpenalty widowpenalty hangindent hangafter
        leftskip rightskip tabcolsep arraycolsep itemsep topsep parsep lineskip floatsep textfloatsep intextsep
        pdfoutput leftmargin rightmargin marginparwidth paperwidth paperheight pdfpagewidth pdfpageheight
        predisplaypenalty postdisplaypenalty brokenpenalty normalbaselineskip pageno mathsurround overfullrule fboxsep
        fboxrule arrayrulewidth bibsep""",
    "mk": "foreignlanguage hyperlink hypertarget",
    "omk": "textcolor colorbox scalebox rotatebox raisebox parbox adjustbox",
    "ommk": "fcolorbox",
    "smmk": "resizebox",
    "mmk": "multicolumn",
    "omomk": "multirow",
    "ook": "makebox framebox",
    "km": "texorpdfstring",
}
COMMANDS = {f"\\{name}": spec for spec, names in _BY_ARGUMENTS.items() for name in names.split()}

_STRUCTURE = """begin end par documentclass documentstyle usepackage RequirePackage input include subfile subfileinclude
    import subimport subinputfrom inputfrom includefrom subincludefrom endinput title footnote footnotetext caption
    captionof subcaption item maketitle abstract bibliography bibliographystyle ensuremath cite citep citet ref eqref
    pageref label newif csname endcsname fi else or ( ) [ ] \\ verb makeatletter makeatother footnotemark author date
    thanks xspace includegraphics expandafter"""
_ENVIRONMENT_STRUCTURE = ("document", "abstract", "itemize", "enumerate")
STRUCTURE = frozenset(  # names whose redefinitions in a paper are ignored; environments in braces
    (
        *(f"\\{name}" for name in (*SECTIONS, *_STRUCTURE.split())),
        *(f"{{{name}}}" for name in (*MATH_ENVIRONMENTS, *DROPPED_ENVIRONMENTS, *_ENVIRONMENT_STRUCTURE)),
    )
)
_CITATION = re.compile(r"\\[a-zA-Z]*[cC]ite[a-zA-Z]*")
_REFERENCE = re.compile(
    r"\\(?:eq|page|auto|Auto|[cC]|[vV]|v?page|name|sub|[fF]|labelc|namec|full|sec|fig|tab|pretty|z)?ref"
)


def reference_arguments(name: str) -> str | None:
    """Return the arguments of a command that refers or cites; None for any other command."""
    if _REFERENCE.fullmatch(name):
        return "sm"
    if name in ("\\crefrange", "\\Crefrange", "\\vrefrange"):
        return "smm"
    return "soom" if _CITATION.fullmatch(name) else None
