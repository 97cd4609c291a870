"""Licenses: told from their texts however these are wrapped, from tags, and from metadata."""

import sysconfig
from pathlib import Path

import pytest

from corpus.extract.licenses import PERMISSIVE, allows, license_of_code, license_of_text, spelt, stated_license

TEXTS = {
    "mit": """
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to the following conditions:
""",
    "mit-0": """
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so. THE SOFTWARE IS PROVIDED 'AS IS'
""",
    "isc": """
Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted, provided that the above copyright notice and this permission notice appear in all copies.
""",
    "0bsd": """
Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted. THE SOFTWARE IS PROVIDED 'AS IS'
""",
    "bsd-2-clause": """
Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met: 1. Redistributions of source code must retain the above copyright notice
""",
    "bsd-3-clause": """
Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met: 3. Neither the name of the copyright holder nor the names of its contributors may be
used to endorse or promote products derived from this software
""",
    "bsd-4-clause": """
Redistribution and use in source and binary forms, with or without modification, are permitted provided that: 3. All
advertising materials mentioning features or use of this software must display the following acknowledgement. 4.
Neither the name may be used to endorse or promote products
""",
    "apache-2.0": "Apache License Version 2.0, January 2004 http://www.apache.org/licenses/",
    "gpl-2.0": "GNU GENERAL PUBLIC LICENSE Version 2, June 1991",
    "gpl-3.0": """
GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007 … use the GNU Lesser General Public License instead
""",
    "lgpl-2.1": "GNU LESSER GENERAL PUBLIC LICENSE Version 2.1, February 1999",
    "lgpl-2.0": "GNU LIBRARY GENERAL PUBLIC LICENSE Version 2, June 1991",
    "lgpl-3.0": """
GNU LESSER GENERAL PUBLIC LICENSE Version 3, 29 June 2007 … version 3 of the GNU General Public License
""",
    "agpl-3.0": """
GNU AFFERO GENERAL PUBLIC LICENSE Version 3, 19 November 2007 … the GNU General Public License, version 3
""",
    "mpl-2.0": "Mozilla Public License Version 2.0 … the GNU General Public License, Version 2.0",
    "epl-2.0": "Eclipse Public License - v 2.0",
    "unlicense": "This is free and unencumbered software released into the public domain.",
    "cc0-1.0": "CC0 1.0 Universal",
    "zlib": """
Permission is granted to anyone to use this software for any purpose, including commercial applications, and to
""",
    "bsl-1.0": """
Boost Software License - Version 1.0 - August 17th, 2003 Permission is hereby granted, free of charge, to any person
or organization obtaining a copy of the software
""",
    "psf-2.0": "A. HISTORY OF THE SOFTWARE … GPL-compatible … PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2",
    "artistic-2.0": "The Artistic License 2.0",
    "wtfpl": "DO WHAT THE FUCK YOU WANT TO PUBLIC LICENSE Version 2, December 2004",
    "cc-by-sa-4.0": "Creative Commons Attribution-ShareAlike 4.0 International Public License",
    "cc-by-4.0": "Creative Commons Attribution 4.0 International Public License",
    "ofl-1.1": "SIL OPEN FONT LICENSE Version 1.1 - 26 February 2007",
    "postgresql": """
Permission to use, copy, modify, and distribute this software and its documentation for any purpose, without fee,
and without a written agreement is hereby granted
""",
    "hpnd": """
Permission to use, copy, modify, and distribute this software and its documentation for any purpose and without fee
is hereby granted, provided that
""",
    "other": "All rights reserved. You may not copy this.",
}


@pytest.mark.parametrize(("license", "text"), TEXTS.items())
def test_texts_are_told_however_they_are_wrapped(license: str, text: str) -> None:
    for joint in (" ", "\n", "\n * ", "\r\n\r\n# "):
        assert license_of_text("Copyright (c) 2020-2024, The Millers\n\n" + joint.join(text.split())) == license


def test_the_first_license_of_a_file_counts() -> None:
    assert license_of_text(TEXTS["bsd-3-clause"] + "\n" * 9 + "Bundled: " + TEXTS["mit"]) == "bsd-3-clause"
    assert license_of_text(TEXTS["bsd-2-clause"] + " x" * 2000 + TEXTS["bsd-3-clause"]) == "bsd-2-clause"


NOT_OPEN = [
    ("Business Source License 1.1. Change License: Apache License, Version 2.0", ""),
    ("Functional Source License, Version 1.1, Apache 2.0 Future License", "apache-2.0"),
    ("“Commons Clause” License Condition v1.0", "apache-2.0"),
    ("The source may be used for non-commercial purposes only.", "bsd-2-clause"),
    ("All other files are proprietary.", "mit"),
    ("or the Server Side Public License, v 1", "apache-2.0"),
    ("or the Elastic License 2.0", "apache-2.0"),
    ("This may not be used for commercial purposes.", "mit"),
    ("Permission is granted for non-commercial purposes. Commercial use requires a paid licence.", "mit"),
    ("It must only be used with an integrated circuit of the Mill ASA.", "bsd-2-clause"),
    ("Redistributions must be accompanied by information on how to obtain complete source code for it", "bsd-2-clause"),
    ("Mill EULA. You may not copy or sell it.", "mit"),
    ("Mill End User License. Third-party notices:", "mit"),
    ("You may not distribute the mill.", "mit"),
    ("The use of all other parts is governed by a Commercial License Agreement.", "apache-2.0"),
    ("It must not be used commercially.", "mit"),
    ("Use is governed by the Business Source License included in the file LICENSE.", "apache-2.0"),
    ("MILL PROPRIETARY/CONFIDENTIAL.", "mit"),
    ("This software is not licensed under the MIT License.", "mit"),
    ("It is no longer licensed under the Apache License, Version 2.0; ask the Source Available Mill.", ""),
    ("with or without modification, are permitted for academic, experimental, or personal use", "bsd-2-clause"),
    ("are permitted for academic non-commercial use", "bsd-2-clause"),
    ("is licensed under the Apache License 2.0, with the following additional conditions:", "apache-2.0"),
    ("MILL CONFIDENTIAL. What is in it is proprietary to Mill. Dissemination is strictly forbidden.", ""),
    ("Mill retains all intellectual property and proprietary rights in and to this software.", ""),
]


@pytest.mark.parametrize(("words", "beside"), NOT_OPEN)
def test_nothing_is_permissive_with_what_takes_it_back(words: str, beside: str) -> None:
    open_ = TEXTS.get(beside, "")
    for text in (f"{words}\n\n{open_}", f"{open_}\n\n{words}"):
        assert license_of_text(text) == license_of_code(text) == "other"


@pytest.mark.parametrize(
    ("name", "license"),
    [("GPL-2", "gpl-2.0"), ("GPL-3", "gpl-3.0"), ("LGPL-2.1", "lgpl-2.1"), ("LGPL-3", "lgpl-3.0"),
     ("Apache-2.0", "apache-2.0"), ("MPL-2.0", "mpl-2.0"), ("CC0-1.0", "cc0-1.0"), ("BSD", "bsd-3-clause")],
)  # fmt: skip
def test_whole_texts_are_known_though_they_speak_of_others(name: str, license: str) -> None:
    path = Path("/usr/share/common-licenses") / name
    if not path.exists():
        pytest.skip("Debian has this text")
    assert license_of_text(path.read_text()) == license


def test_pythons_own_license() -> None:
    path = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    if not path.exists():
        pytest.skip("this Python was installed without its license")
    assert license_of_text(path.read_text()) == "psf-2.0"


@pytest.mark.parametrize(
    ("code", "license"),
    [
        ("// SPDX-License-Identifier: MIT\n", "mit"),
        ("/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR BSD-3-Clause */\n",
         "(gpl-2.0-only WITH linux-syscall-note) OR bsd-3-clause"),
        ("# spdx-license-identifier:\tapache-2.0 and mit\n", "apache-2.0 AND mit"),
        ("(see SPDX-License-Identifier: GPL-2.0+)", "gpl-2.0+"),
        ("\n" * 29 + "# SPDX-License-Identifier: MIT", "mit"),
        ("\n" * 30 + "# SPDX-License-Identifier: MIT", None),
        ("# SPDX-License-Identifier: ISC\n# Licensed under the Apache License, Version 2.0", "isc"),
        ("# Licensed under the Apache License,\n# Version 2.0 (the \"License\");\n", "apache-2.0"),
        ("/* it under the terms of the GNU General Public License as published by\n * the Free Software Foundation;"
         " either\n * version 2 of the License, or (at your option) any later version. */", "gpl-2.0"),
        ("# the terms of the GNU Lesser General Public License v3", "lgpl-3.0"),
        ("# This Source Code Form is subject to the terms of the Mozilla Public\n# License, v. 2.0.", "mpl-2.0"),
        ("x = 1", None),
        ("# under the terms of version 2 of the GNU General Public License", "gpl-2.0"),
        ("// under version 2.1 of the GNU Lesser General Public License", "lgpl-2.1"),
        ("# licensed under the GPLv3", "gpl-3.0"),
        ("# Licensed under the GPL-2 or later", "gpl-2.0"),
        ("# License: GNU GPL v3", "gpl-3.0"),
        ("# released under the LGPL 2.1", "lgpl-2.1"),
        ("# GNU Lesser General Public License (LGPL), version 2.1", "lgpl-2.1"),
        ("# version 2 or, at your option, any later version of the GNU General Public License", "gpl-2.0"),
        ("# You may copy it by the GNU General Public License.", "other"),
        ("# Distributed under the GPL.", "other"),
        ("/* Dual licensed under the MIT and GPL licenses. */", "mit"),
        ("# Copyright 2020 The Millers. All rights reserved.\n# PROPRIETARY AND CONFIDENTIAL", "other"),
        ("/* Unauthorized copying of this file\n * is strictly prohibited. */", "other"),
        ("# Copyright 2020 The Millers. All rights reserved.", None),
        ("KNOWN = {'gpl-3.0': Copyleft, 'mit': Permissive}", None),
        ("# available under the terms of the Eclipse Public License v1.0", "epl-1.0"),
        ("# subject to the terms of the\n# Common Development and Distribution License (the \"License\").", "cddl-1.0"),
        ("# Common Public License v1.0", "cpl-1.0"),
        ("# Licensed under the MPL 2.0", "mpl-2.0"),
        ("# licensed under the Mozilla Public License 2.0", "mpl-2.0"),
        ("# Licensed under the EUPL, Version 1.2", "eupl-1.2"),
        ("# Open Software License version 3.0", "osl-3.0"),
        ("# License: CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("# Licensed under the Timescale License", "other"),
        ("# Licensed under the CeCILL-B", "other"),
        ("# This software is governed by the CeCILL  license under French law", "other"),
        ("# Use of this software is governed by the CockroachDB Software License\n# in /LICENSE.", "other"),
        ("# Licensed under the Unity Companion License for projects that depend on it", "other"),
        ("# Licensed as a CockroachDB Enterprise file under the Cockroach Community License", "other"),
        ("# It may be used under the terms of the Q Public License.", "other"),
        ("# Licensed under the Mozilla Public License.", "other"),
        ("# Licensed under the EUPL, Version 1.1", "other"),
        ("# Licensed under the Creative Commons Attribution-ShareAlike 4.0 license", "cc-by-sa-4.0"),
        (" * This source file is subject to the Open Software License (OSL 3.0)", "osl-3.0"),
        ("# There is NO WARRANTY. Released under the GPL.", "other"),
        ("# It may not be distributed except under the GPL.", "other"),
        ("# Originally by the Millers, released under the GPL.", "other"),
        ("# This file is part of Mill, which is licensed under the GPL.", "other"),
        ("# Use of this software is governed: licensed under the CockroachDB Software License", "other"),
        ("# Licensed under the Confluent Community License", "other"),
        (f"# Parser based on foo, {TEXTS['mit']}\n# under the GNU General Public License version 3", "mit AND gpl-3.0"),
        (f"# Multi-threaded. {TEXTS['mit']}\n# Parts: the GNU General Public License version 3", "mit AND gpl-3.0"),
        (f"# {TEXTS['mit']}\n# Parts are distributed under the GNU General Public License.", "mit AND other"),
        (f"# {TEXTS['mit']}\n# Parts are licensed under the Timescale License.", "mit AND other"),
        ("# Licensed under the Apache License, Version 2.0: CONDITIONS OF ANY KIND, either express or implied.\n"
         "# Parts: GNU General Public License version 3", "apache-2.0 AND gpl-3.0"),
        ("# Licensed under the MIT or GPL Version 2 licenses.", "mit"),
        (f"# Under the GNU General Public License version 3, or the MIT License: {TEXTS['mit']}", "gpl-3.0"),
        ("# Licensed under the MIT License or the GPL version 3", "mit"),
        ("# An authorization code grant: what to do when the client type is confidential", None),
        ("# Originally released under LGPL. Donated to PIL under the standard PIL license.", None),
        ("# Written from scratch: contains no code under the GPL.", None),
        ("# replaces readline, which is licensed under the GPL", None),
        ("# Distributed under the PostgreSQL License", None),
        ("# Distributed under the terms of the project's license", None),
        ("# governed by a BSD-style license that can be found in the LICENSE file", None),
        (f"# MIT, or a proprietary license for who wants support\n{TEXTS['mit']}", "mit"),
        ("# It prevents unauthorized copying of tokens.", None),
        ("LICENSES = ['Business Source License', 'MIT']", None),
        ("DATASETS = {'x': 'CC BY-NC 4.0'}", None),
        ("# Licensed under the same license as Python. Distributed under the License.", None),
        ("# released under the BSD license; available for commercial and non-commercial use", None),
        ("# Flour for clients that are confidential, in a proprietary format; no GPL code is read.", None),
    ],
)  # fmt: skip
def test_source_files_name_their_own(code: str, license: str | None) -> None:
    assert license_of_code(code) == license


@pytest.mark.parametrize(
    ("metadata", "license"),
    [
        ("Metadata-Version: 2.4\nLicense-Expression: MIT OR Apache-2.0\n", "mit OR apache-2.0"),
        ("License: MIT License\r\n", "mit"),
        ("License: BSD\n", None),
        ("License: MIT and much else\n", None),
        ('[project]\nlicense = "BSD-3-Clause"\n', "bsd-3-clause"),
        ('[project]\nlicense = {text = "MIT"}\n', "mit"),
        ('[package]\nlicense = "MIT/Apache-2.0"\n', "mit OR apache-2.0"),
        ('{\n  "name": "mill",\n  "license": "ISC",\n}', "isc"),
        ('  "license": "SEE LICENSE IN mill.txt",', None),
        ('{\n  "name": "mill",\n  "license": "SEE LICENSE IN EULA",\n  "parts": {\n    "license": "MIT"\n  }\n}', None),
        ('{\n  "parts": {\n    "license": "MIT"\n  },\n  "license": "GPL-3.0"\n}', "gpl-3.0"),
        ('{\n  "name": "mill",\n  "parts": {\n    "license": "MIT"\n  }\n}', None),
        ('{\n  "license": "UNLICENSED"\n}', "other"),
        ('license = "BUSL-1.1"', "other"),
        ("License: Proprietary", "other"),
        ("License: UNKNOWN", None),
        ("license = {file = 'LICENSE.txt'}", None),
        ("license.workspace = true", None),
        ("License: BSD", None),
        ("License: Ours\nName: mill\n\nLicense: MIT\n", "other"),
        ("license-file = LICENSE\nlicense: bsd-2-clause", "bsd-2-clause"),
    ],
)
def test_metadata_are_believed_where_we_know_the_license(metadata: str, license: str | None) -> None:
    assert stated_license(metadata) == license


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("mit", True),
        ("other", False),
        ("unknown", False),
        ("gpl-3.0-only OR mit", True),
        ("gpl-3.0-only AND mit", False),
        ("apache-2.0 WITH llvm-exception", True),
        ("gpl-2.0-only WITH classpath-exception-2.0", False),
        ("mit OR gpl-2.0 AND gpl-3.0", True),
        ("(mit OR gpl-2.0) AND gpl-3.0", False),
        ("(mit OR gpl-2.0) AND (gpl-3.0 OR (isc AND zlib))", True),
        ("", False),
        ("AND", False),
        ("((((", False),
    ],
)
def test_what_may_be_used_by_permissive_licenses_alone(expression: str, allowed: bool) -> None:
    assert allows(expression, PERMISSIVE) is allowed


def test_or_later_is_meant_by_the_plain_name() -> None:
    for license in ("gpl-3.0", "gpl-3.0-only", "gpl-3.0-or-later", "gpl-3.0+"):
        assert allows(license, {"gpl-3.0"}) and not allows(license, {"gpl-2.0"})


def test_brackets_that_do_not_match_are_left_out() -> None:
    assert spelt("MIT)") == spelt("((MIT") == spelt("mit") == "mit"
    assert spelt("( MIT or ISC ) and Zlib") == "(mit OR isc) AND zlib"


@pytest.mark.parametrize(
    "hostile",
    ["license = " + " " * 190_000, "license: MIT" + " OR MIT" * 20_000, "(" * 190_000, "license" * 20_000,
     "redistribution and use in source and binary forms " * 4_000, "gnu general public license " * 7_000]
)  # fmt: skip
def test_hostile_texts_take_no_ages(hostile: str) -> None:
    """A pattern that backtracks would take days."""
    assert stated_license(hostile) is None
    assert license_of_text(hostile) in ("other", "bsd-2-clause")
    assert license_of_code("SPDX-License-Identifier: " + hostile) != ""
