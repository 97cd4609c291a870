"""Licenses recognized from LICENSE texts however they are wrapped, from SPDX tags and from metadata."""

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.extract.licenses import (
    PERMISSIVE,
    allows,
    license_of_metadata,
    license_of_tag,
    license_of_text,
    spdx_expression,
)

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
def test_texts_are_recognized_however_they_are_wrapped(license: str, text: str) -> None:
    for joint in (" ", "\n", "\n * ", "\r\n\r\n# "):
        assert license_of_text("Copyright (c) 2020-2024, The Millers\n\n" + joint.join(text.split())) == license


def test_first_license_of_a_text_counts() -> None:
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
def test_restrictions_make_a_text_unknown(words: str, beside: str) -> None:
    open_ = TEXTS.get(beside, "")
    for text in (f"{words}\n\n{open_}", f"{open_}\n\n{words}"):
        assert license_of_text(text) == "other"


@pytest.mark.parametrize(
    ("name", "license"),
    [("GPL-2", "gpl-2.0"), ("GPL-3", "gpl-3.0"), ("LGPL-2.1", "lgpl-2.1"), ("LGPL-3", "lgpl-3.0"),
     ("Apache-2.0", "apache-2.0"), ("MPL-2.0", "mpl-2.0"), ("CC0-1.0", "cc0-1.0"), ("BSD", "bsd-3-clause")],
)  # fmt: skip
def test_full_texts_that_mention_other_licenses(name: str, license: str) -> None:
    path = Path("/usr/share/common-licenses") / name
    if not path.exists():
        pytest.skip("Debian has this text")
    assert license_of_text(path.read_text()) == license


def test_license_of_python_itself() -> None:
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
        ("# SPDX-License-Identifier: MIT/Apache-2.0", "mit OR apache-2.0"),
        ("# SPDX-License-Identifier: MIT OR OR ISC", "other"),
        ("# SPDX-License-Identifier: MIT WITH ISC WITH Zlib", "other"),
        ("\n" * 29 + "# SPDX-License-Identifier: MIT", "mit"),
        ("\n" * 30 + "# SPDX-License-Identifier: MIT", None),
        ("# SPDX-License-Identifier: ISC\n# Licensed under the Apache License, Version 2.0", "isc"),
        ("x = 1", None),
        ("# Licensed under the Apache License,\n# Version 2.0 (the \"License\");\n", None),
        ("# Copyright 2020 The Millers. All rights reserved.\n# PROPRIETARY AND CONFIDENTIAL", None),
        ("KNOWN = {'gpl-3.0': Copyleft, 'mit': Permissive}", None),
    ],
)  # fmt: skip
def test_tag_of_source_file(code: str, license: str | None) -> None:
    assert license_of_tag(code) == license


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
def test_license_of_metadata(metadata: str, license: str | None) -> None:
    assert license_of_metadata(metadata) == license


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
def test_expressions_that_permissive_licenses_satisfy(expression: str, allowed: bool) -> None:
    assert allows(expression, PERMISSIVE) is allowed


def test_plain_name_allows_only_and_or_later() -> None:
    for license in ("gpl-3.0", "gpl-3.0-only", "gpl-3.0-or-later", "gpl-3.0+"):
        assert allows(license, {"gpl-3.0"}) and not allows(license, {"gpl-2.0"})


def test_unmatched_brackets_are_removed() -> None:
    assert spdx_expression("MIT)") == spdx_expression("((MIT") == spdx_expression("mit") == "mit"
    assert spdx_expression("( MIT or ISC ) and Zlib") == "(mit OR isc) AND zlib"


@pytest.mark.parametrize(
    "hostile",
    ["license = " + " " * 190_000, "license: MIT" + " OR MIT" * 20_000, "(" * 190_000, "license" * 20_000,
     "redistribution and use in source and binary forms " * 4_000, "gnu general public license " * 7_000]
)  # fmt: skip
def test_hostile_texts_do_not_backtrack(hostile: str) -> None:
    """With a pattern that backtracks this would take days."""
    assert license_of_metadata(hostile) is None
    assert license_of_text(hostile) in ("other", "bsd-2-clause")
    assert license_of_tag("SPDX-License-Identifier: " + hostile) != ""


@pytest.mark.parametrize("expression", ["", "AND", "((((", "/", "()", "mit AND", "mit WITH", "mit OR OR isc", "mit,"])
def test_unreadable_expressions_are_unknown(expression: str) -> None:
    assert spdx_expression(expression) == "other" and not allows(expression, PERMISSIVE)


@given(st.lists(st.sampled_from(["(", ")", "/", " or ", " and ", " with ", "mit", "x11"]), max_size=8).map("".join))
def test_an_expression_in_any_order_is_read_or_other(expression: str) -> None:
    read = spdx_expression(expression)
    assert read == spdx_expression(read)
    allows(expression, PERMISSIVE)


def test_an_operator_after_a_bracket() -> None:
    assert spdx_expression("(/X11") == "other"
