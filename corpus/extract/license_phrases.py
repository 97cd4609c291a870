"""What is said in one license and no other, and what takes permission back.

All of it is sought in words alone: letters are small, and what is no letter or digit is one blank.
"""
# SPDX-License-Identifier: Apache-2.0
# (Who reads licenses of code would take this file for one of those that it speaks of.)

import re

_GPL = r"(?:[al]?gpl )?(?:as published by the free software foundation )?(?:either )?(?:version |v)"
_OF_GPL = r"(?:0 )?(?:only )?(?:or (?:at your option )?(?:any )?later )?(?:version )?of the (?:gnu )?"
# What introduces a license in few words: code may well speak of licenses without.
_UNDER = r"\b(?:under|licen[cs]ed?|terms|released|distributed|governed|copyright)(?: [a-z0-9]+){0,8}? "
_V = r"(?:version |v ?)?"
_HPND = "permission to use copy modify and distribute this software and its documentation for any purpose"
PHRASES = (
    ("0bsd", r"with or without fee is hereby granted the software is provided as is"),
    ("isc", r"with or without fee is hereby granted provided that the above copyright notice and this permission"),
    ("mit-0", r"permission is hereby granted free of charge .{,400} to do so the software is provided as is"),
    ("bsl-1.0", r"boost software license version 1 0"),
    ("mit", r"permission is hereby granted free of charge to any person obtaining a copy of this software and"),
    ("mit", r"dual licensed under (?:the )?(?:terms of the )?mit\b"),
    ("mit", r"(?:licensed|released|distributed) under the (?:terms of the )?(?:mit|expat) (?:license|or)\b"),
    ("apache-2.0", r"apache license version 2 0"),
    ("apache-1.1", r"apache software license version 1 1"),
    ("bsd-4-clause", r"redistribution and use in source and binary forms .{,1200} advertising materials mentioning"),
    ("bsd-3-clause", r"redistribution and use in source and binary forms .{,1200} endorse"),
    ("bsd-2-clause", r"redistribution and use in source and binary forms with or without modification are permitted"),
    ("agpl-3.0", rf"gnu affero general public license {_GPL}3"),
    ("lgpl-3.0", rf"gnu lesser general public license {_GPL}3"),
    ("lgpl-2.1", rf"gnu lesser general public license {_GPL}2 1"),
    ("lgpl-2.0", rf"gnu (?:library|lesser) general public license {_GPL}2"),
    ("gpl-3.0", rf"gnu general public license {_GPL}3"),
    ("gpl-2.0", rf"gnu general public license {_GPL}2"),
    ("agpl-3.0", rf"version 3 {_OF_GPL}affero general public license"),
    ("lgpl-3.0", rf"version 3 {_OF_GPL}lesser general public license"),
    ("lgpl-2.1", rf"version 2 1 {_OF_GPL}lesser general public license"),
    ("lgpl-2.0", rf"version 2 {_OF_GPL}(?:library|lesser) general public license"),
    ("gpl-3.0", rf"version 3 {_OF_GPL}general public license"),
    ("gpl-2.0", rf"version 2 {_OF_GPL}general public license"),
    ("agpl-3.0", rf"{_UNDER}agpl ?(?:v|version )?3"),
    ("lgpl-3.0", rf"{_UNDER}lgpl ?(?:v|version )?3"),
    ("lgpl-2.1", rf"{_UNDER}lgpl ?(?:v|version )?2 1"),
    ("lgpl-2.0", rf"{_UNDER}lgpl ?(?:v|version )?2"),
    ("gpl-3.0", rf"{_UNDER}gpl ?(?:v|version )?3"),
    ("gpl-2.0", rf"{_UNDER}gpl ?(?:v|version )?2"),
    ("mpl-2.0", rf"mozilla public license {_V}2 0"),
    ("mpl-2.0", rf"{_UNDER}mpl {_V}2 0"),
    ("mpl-1.1", rf"mozilla public license {_V}1 1"),
    ("epl-2.0", rf"eclipse public license {_V}2 0"),
    ("epl-1.0", rf"eclipse public license {_V}1 0"),
    ("cpl-1.0", rf"common public license {_V}1 0"),
    ("osl-3.0", rf"open software license (?:osl )?{_V}3 0"),
    ("unlicense", r"this is free and unencumbered software released into the public domain"),
    ("cc0-1.0", r"cc0 1 0 universal"),
    ("cc-by-sa-4.0", r"attribution share ?alike 4 0"),
    ("cc-by-4.0", r"attribution 4 0 international"),
    ("zlib", r"permission is granted to anyone to use this software for any purpose including commercial applications"),
    ("psf-2.0", r"python software foundation license version 2"),
    ("artistic-2.0", r"artistic license 2 0"),
    ("wtfpl", r"do what the fuck you want to public license"),
    ("ncsa", r"university of illinois ncsa open source license"),
    ("ofl-1.1", r"sil open font license version 1 1"),
    ("upl-1.0", r"universal permissive license"),
    ("ms-pl", r"microsoft public license"),
    ("ms-rl", r"microsoft reciprocal license"),
    ("cddl-1.0", r"common development and distribution license"),
    ("eupl-1.2", rf"(?:european union public licen[cs]e|{_UNDER}eupl) {_V}1 2"),
    ("cc-by-sa-4.0", rf"{_UNDER}cc by sa 4 0"),
    ("postgresql", rf"{_HPND} without fee and without a written agreement"),
    ("hpnd", _HPND),
)
# Licenses of which the source may be seen, by their names: with a version, or behind what introduces a license.
_NAMES = (
    r"(?:business source license|functional source license|commons clause|elastic license|server side public license"
    r"|sspl|source available license|polyform [a-z]+|attribution non ?commercial)"
)
_COMMERCE = r"non ?commerci(?:al|ial)"
# Whatever else a text names, it is no license that we know with one of these.
BARRED = re.compile(
    rf"{_UNDER}(?:{_NAMES}|cc by nc)|\b(?:{_NAMES} (?:license )?(?:condition|{_V}[0-9])"
    rf"|(?:not|never)(?: be)?(?: used| permitted| allowed)? for commercial|{_COMMERCE} (?:use|purposes?) only"
    r"|(?:not|never) be used commercially"
    rf"|for {_COMMERCE} (?:use|purposes?|research)"
    rf"|for (?:[a-z]+ ){{0,6}}?(?:academic|research|non ?profit|personal) use"
    rf"|are permitted (?:solely )?for (?:[a-z]+ ){{0,6}}?(?:academic|research|non ?profit|{_COMMERCE})"
    r"|only be used with|must be accompanied by information on how to obtain complete source code"
    r"|no longer licensed under|is not licensed under"
    r"|with (?:the )?(?:following )?additional conditions"
    r"|modified version of the (?:apache|mit|bsd) licen[cs]e|end user licen[cs]e(?! agreements)"
    r"|commercial license agreement"
    r"|you may not (?:copy|modify|distribute|reverse|sell)(?! .{0,120}(?:except|at all|technological))"
    r"|(?:unpublished|proprietary(?: and)?) (?:proprietary|confidential)|confidential and proprietary"
    r"|proprietary (?:to(?! prevent)|property of|information of)"
    r"|intellectual property and proprietary rights|under (?:a|the|our) (?:[a-z0-9]+ )?proprietary license"
    r"|(?:this|these|all other|the rest|everything else|all else)"
    r"(?: (?:source|file|files|code|software|program|work|of|the)){0,5}"
    r" (?:is|are)(?: the)? (?:proprietary|confidential)(?! format| protocol)"
    r"|confidential (?:property|information) of|(?:strictly|company) confidential|trade secrets? of"
    r"|strictly (?:forbidden|prohibited)"
    r"|unauthorized (?:copying|reproduction|distribution|duplication|use)(?: or [a-z]+)* of (?:this|these|the|any)"
    r")\b"
)
# What a license that needs no second look is called by, and words that are no name.
_PLAIN = (
    r"(?:the|same|this|that|following|above|said|your|our|its|their|s|an?|of|terms|conditions|open|free|permissive"
    r"|liberal|standard|project|package|root|main|no|any|other|different|bsd|mit|apache|psf|python|isc|zlib|boost|expat"
    r"|x11|w3c|unicode|pil|freetype|scipy|numpy|libpng|tcl|vim|openssl|postgresql|json|curl|icu|ncsa|ruby|hpnd|cc0|wtfpl"
    r"|mulan|blue oak|artistic|microsoft public|public domain|unlicense|license)"
)
# A license that none of the phrases knows.
SOME = re.compile(
    rf"general public license|{_UNDER}(?:[al]?gpl|cecill|cc by|creative commons attribution)\b"
    r"|\bunder (?:the )?(?:terms of the )?(?:mpl|epl|eupl|cddl|cpl|osl)\b"
    r"|\b(?:(?:licen[cs]ed(?: as(?: [a-z0-9]+){1,4})?|released|distributed|available) under|governed by|subject to"
    r"|under (?:the )?terms)"
    rf"(?: (?:the|an?|terms|and|conditions|of)){{0,6}}(?: (?!{_PLAIN}\b)[a-z0-9]+){{1,4}} licen[cs]e\b"
)
# A notice that is about the GPL, but not of this file. Words of a sentence before it ("no warranty") are no part of it.
NOT_OURS = re.compile(
    r"\b(?:no (?:code|files?|parts?)|not|originally|formerly|previously|(?:replaces|unlike|instead of) [a-z0-9]+ which)"
    r"(?: (?:is|are|was|were|licen[cs]ed|released|distributed|available)){0,3} under(?: the)?(?: gnu)? [al]?gpl\b"
)
# Between two licenses: one may choose.
CHOICE = re.compile(
    r"\b(?:(?:dual|tri|multi)(?: licen[cs]|ly licen[cs]| (?:mit|bsd|apache|[al]?gpl)\b)"
    r"|either (?:of|one|the|licen[cs]e|mit)\b"
    r"|alternatively\b"
    r"|or (?:under )?(?:the )?(?:terms of (?:the )?)?(?:gnu|[al]?gpl|mit|bsd|apache|mpl|mozilla)\b)"
)
