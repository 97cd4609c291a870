"""Programming language of a source file, by its name or by the interpreter in its first line."""

import re

# Tables of `language:key,key`, with Linguist's names in lower case and `_` for a space. (MATLAB uses .m too.)
_EXTENSIONS = """
    ada:adb,ads assembly:asm,s awk:awk
    batchfile:bat,cmd
    c:c,h c#:cs,csx c++:cc,cpp,cxx,c++,hh,hpp,hxx,h++,inl,ipp,tpp clojure:clj,cljc,cljs cmake:cmake cobol:cob,cbl
    coffeescript:coffee common_lisp:lisp,lsp crystal:cr css:css cuda:cu,cuh cython:pyx,pxd,pxi
    d:d,di dart:dart dockerfile:dockerfile
    elixir:ex,exs elm:elm emacs_lisp:el erlang:erl,hrl
    f#:fs,fsi,fsx fortran:f,f77,f90,f95,f03,f08,for
    glsl:glsl,vert,frag,comp go:go groovy:groovy,gradle
    haskell:hs,lhs hcl:tf,hcl html:html,htm,xhtml
    java:java javascript:js,cjs,mjs,jsx julia:jl
    kotlin:kt,kts
    less:less lex:l,lex lua:lua
    makefile:mk,mak
    nim:nim,nims nix:nix
    objective-c:m,mm ocaml:ml,mli,mll,mly
    pascal:pas,pp,dpr,lpr perl:pl,pm,t php:php,phtml powershell:ps1,psm1,psd1 prolog:prolog protocol_buffer:proto
    python:py,pyi,pyw
    r:r racket:rkt ruby:rb,rake,gemspec rust:rs
    scala:scala,sc,sbt scheme:scm,ss,sld scss:scss,sass shell:sh,bash,zsh,ksh,fish solidity:sol sql:sql
    standard_ml:sml,sig swift:swift systemverilog:sv,svh
    tcl:tcl,tk tex:tex,sty,cls thrift:thrift typescript:ts,tsx,mts,cts
    verilog:v,vh vhdl:vhd,vhdl vim_script:vim visual_basic:vb,bas vue:vue,svelte
    yacc:y,yacc,yy
    zig:zig
"""
_DATA_AND_PROSE = """
    ini:ini,cfg,conf
    json:json,json5,jsonc
    markdown:md,markdown
    restructuredtext:rst
    toml:toml
    xml:xml,xsd,xslt,xsl
    yaml:yaml,yml
"""
_NAMES = """
    makefile:makefile,gnumakefile,makefile.am,makefile.in meson:meson.build,meson_options.txt
    dockerfile:dockerfile,containerfile
    cmake:cmakelists.txt
    ruby:rakefile,gemfile,vagrantfile,podfile
    groovy:jenkinsfile
    python:sconstruct,sconscript,wscript,build.bazel,workspace.bazel
    shell:configure.ac,pkgbuild,.bashrc,.profile,.zshrc
    vim_script:.vimrc,vimrc
    emacs_lisp:.emacs
"""
_INTERPRETERS = """
    awk:awk,gawk,mawk
    groovy:groovy
    javascript:node,nodejs,deno
    lua:lua,luajit
    makefile:make
    perl:perl php:php python:python,pypy
    r:rscript ruby:ruby
    shell:sh,bash,dash,zsh,ksh,fish,ash
    tcl:tclsh,wish,expect
"""


def _by_key(table: str) -> dict[str, str]:
    """Return the languages of a table by their keys."""
    languages = (entry.split(":") for entry in table.split())
    return {key: name.replace("_", " ") for name, keys in languages for key in keys.split(",")}


_BY_EXTENSION, _BY_NAME = _by_key(_EXTENSIONS + _DATA_AND_PROSE), _by_key(_NAMES)
_BY_INTERPRETER = _by_key(_INTERPRETERS)
LANGUAGES = frozenset(_by_key(_EXTENSIONS + _NAMES).values())  # read by default
NAMED = LANGUAGES | frozenset(_by_key(_DATA_AND_PROSE).values())  # that a recipe may name
_SHEBANG = re.compile(rb"#![ \t]*(?:\S*/)?env(?:[ \t]+-\S+)*[ \t]+(?:\S*/)?([A-Za-z]+)|#![ \t]*(?:\S*/)?([A-Za-z]+)")


def language_of_name(name: str) -> str | None:
    """Return the language of a file name; "" if the first line decides; None if it is not a source file."""
    base = name.rpartition("/")[2].lower()
    if base in _BY_NAME:
        return _BY_NAME[base]
    stem, dot, extension = base.rpartition(".")
    if dot and stem:
        return _BY_EXTENSION.get(extension)
    return None if dot else ""


def language_of_script(content: bytes) -> str | None:
    """Return the language of a script without an extension by its `#!` line; None if it is not known."""
    shebang = _SHEBANG.match(content[:200])
    return _BY_INTERPRETER.get((shebang[1] or shebang[2]).decode().lower()) if shebang else None
