"""Documents of repository archives: their files, licenses and byte spans."""

import io
import posixpath
import re
import tarfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from corpus.document import Span
from corpus.sources.code import READER, CodeSettings
from tests.corpus.formats.archive_files import KINDS, PLAIN, SETTINGS, Files, packed, tar
from tests.corpus.formats.tiles import outcomes, read_cut, read_whole, records

MIT = (
    b"MIT License\n\nCopyright (c) 2020 The Millers\n\nPermission is hereby granted, free of charge, to any person\n"
    b"obtaining a copy of this software and associated documentation files\n"
)
FILES = {
    "mill-1.0/LICENSE": MIT,
    "mill-1.0/README.md": b"# The mill\n",
    "mill-1.0/setup.py": b"import setuptools\n",
    "mill-1.0/src/wheel.c": b"/* SPDX-License-Identifier: GPL-2.0-only */\nint wheel(void) { return 1; }\n",
    "mill-1.0/src/empty.c": b" \n",
    "mill-1.0/bin/grind": b"#!/usr/bin/env python3\nprint('grind')\n",
    "mill-1.0/bin/data": b"neither script nor anything\n",
    "mill-1.0/Makefile": b"all:\n\techo all\n",
    "mill-1.0/notebook.ipynb": b"{}",
    "mill-1.0/stone.png": b"\x89PNG\0",
    "mill-1.0/vendor/stone/COPYING": b"                    GNU GENERAL PUBLIC LICENSE\n        Version 3, 29 June 2007",
    "mill-1.0/vendor/stone/stone.go": b"package stone\n",
    "mill-1.0/zeros.c": b"int\0x;",
}


def written(folder: Path, kind: str, files: Files = FILES, stem: str = "mill-1.0") -> Path:
    path = folder / f"{stem}{kind}"
    path.write_bytes(packed(kind, files))
    return path


def only(folder: Path, files: Files, **settings: object) -> list[Span]:
    return read_whole(READER, written(folder, ".tar.gz", files), CodeSettings.model_validate({**PLAIN, **settings}))


@pytest.mark.parametrize("kind", KINDS)
def test_each_source_file_is_a_document_under_its_own_license(tmp_path: Path, kind: str) -> None:
    found = read_whole(READER, written(tmp_path, kind), SETTINGS)
    assert {each.identity: each.license for each in records(found)} == {
        "mill-1.0 setup.py": "mit",
        "mill-1.0 src/wheel.c": "gpl-2.0-only",
        "mill-1.0 bin/grind": "mit",
        "mill-1.0 Makefile": "mit",
        "mill-1.0 vendor/stone/stone.go": "gpl-3.0",
    }
    assert outcomes(found) == {"record": 5, "not_source": 5, "other_language": 1, "empty": 1, "binary": 1}
    assert [READER.document(each, SETTINGS).text for each in records(found)] == [  # type: ignore[union-attr]
        content.decode() for name, content in FILES.items() if name.endswith((".py", "wheel.c", "grind", "file", ".go"))
    ]


@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_spans_are_the_bytes_of_the_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"mill{kind}"
    if kind == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("mill")
            for name, content in FILES.items():
                archive.writestr(name, content)
    else:
        path.write_bytes(tar(FILES, form=tarfile.GNU_FORMAT))
    data = path.read_bytes()
    for each in records(read_whole(READER, path, SETTINGS)):
        assert data[each.start : each.end].count(each.content) == 1
        assert each.identity.partition(" ")[2].encode() in data[each.start : each.end]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_one_task_and_its_spans_tile_it(tmp_path: Path, kind: str) -> None:
    noise = {f"a/{n}.py": b"".join(b"x%d = %d\n" % (n * k, k * k) for k in range(900)) for n in range(40)}
    path = written(tmp_path, kind, noise, "a")
    size = path.stat().st_size
    assert READER.cuts(path, [0, 1, size - 1, size], SETTINGS) == [0, size, size, size]
    found = read_cut(READER, path, [1, size // 2], SETTINGS)
    assert found == read_whole(READER, path, SETTINGS)
    starts = [each.start for each in records(found)]
    assert len(starts) == 40 and len(set(starts)) > 2 and starts == sorted(starts)


def test_every_name_format_is_read_and_folders_are_not_members(tmp_path: Path) -> None:
    long = f"a/{'deep/' * 60}x.py"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tmp_path / "a.tar"
        path.write_bytes(tar({"./a//ж.py": b"1", long: b"2"}, tarfile.TarInfo("a/y.py"), form=form))
        found = read_whole(READER, path, SETTINGS)
        assert [each.identity for each in records(found)] == ["a ж.py", f"a {long[2:]}"]
        assert outcomes(found) == {"record": 2, "empty": 1}
    for files, identity in (({"x.py": b"1", "a/y.py": b"1"}, "a x.py"), ({"a/x.py": b"1", "b/x.py": b"1"}, "a a/x.py")):
        path.write_bytes(tar(files))
        assert records(read_whole(READER, path, SETTINGS))[0].identity == identity


def test_empty_archives_are_skipped(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("a/")
    folder.type = tarfile.DIRTYPE
    for content in (tar({}), tar({}, folder), packed(".zip", {})):
        path = tmp_path / "a"
        path.write_bytes(content)
        assert outcomes(read_whole(READER, path, SETTINGS)) == {"empty": 1}
    path.write_bytes(b"")
    assert read_whole(READER, path, SETTINGS) == []


def test_zip64_and_zip_comments_are_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = b"a comment"
        with archive.open(zipfile.ZipInfo("a/x.py"), "w", force_zip64=True) as member:
            member.write(b"x = 1\n")
        archive.writestr("a/y.py", "y = 1\n")
    path = tmp_path / "a.zip"
    path.write_bytes(buffer.getvalue())
    assert [each.content for each in records(read_whole(READER, path, SETTINGS))] == [b"x = 1\n", b"y = 1\n"]


def test_languages_are_chosen_by_name(tmp_path: Path) -> None:
    found = only(tmp_path, FILES, languages=("python", "markdown"))
    assert [each.identity for each in records(found)] == [
        "mill-1.0 README.md",
        "mill-1.0 setup.py",
        "mill-1.0 bin/grind",
    ]
    with pytest.raises(ValidationError, match="unknown language; did you mean `python`"):
        CodeSettings.model_validate({**PLAIN, "languages": ("pyton",)})


@pytest.mark.parametrize(
    ("licenses", "kept"), [("all", 5), ("permissive", 3), (("GPL-2.0", "GPL-3.0"), 2), (("mit", "gpl-3.0"), 4)]
)
def test_licenses_can_be_selected(tmp_path: Path, licenses: object, kept: int) -> None:
    found = only(tmp_path, FILES, licenses=licenses)
    assert outcomes(found)["record"] == kept and outcomes(found)["license"] == 5 - kept


def test_the_license_of_the_source_is_the_default(tmp_path: Path) -> None:
    for license, outcome in (("mit", "record"), ("unknown", "license"), ("gpl-3.0", "license")):
        found = only(tmp_path, {"a/x.py": b"x = 1\n"}, license=license, licenses="permissive")
        assert outcomes(found) == {outcome: 1}
    assert records(only(tmp_path, {"a/x.py": b"x = 1\n"}))[0].license is None


def test_the_nearest_statement_wins_and_texts_win_over_metadata(tmp_path: Path) -> None:
    files = {
        "a/one.py": b"1",
        "a/pyproject.toml": b'[project]\nlicense = "Apache-2.0"\n',
        "a/b/LICENSE-MIT": MIT,
        "a/b/LICENSE-APACHE": b"Apache License\nVersion 2.0, January 2004\n",
        "a/b/two.py": b"2",
        "a/c/COPYING": b"GNU GENERAL PUBLIC LICENSE\nVersion 3",
        "a/c/COPYING.LESSER": b"GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3",
        "a/c/three.py": b"3",
        "a/d/LICENSE": b"All rights reserved by the millers.",
        "a/d/four.py": b"4",
        "a/d/e/package.json": b'{\n  "license": "ISC",\n  "name": "e"\n}',
        "a/d/e/five.js": b"5",
        "a/f/license.rst": b"How we came to our license",
        "a/f/six.py": b"6",
    }
    expected = {
        "one.py": "apache-2.0",
        "two.py": "apache-2.0 OR mit",
        "three.py": "lgpl-3.0",
        "four.py": "other",
        "five.js": "isc",
        "six.py": "apache-2.0",
    }
    for ordered in (files, dict(reversed(files.items()))):  # what is stated may come after the files that it applies to
        found = only(tmp_path, ordered)
        assert {re.split("[ /]", each.identity)[-1]: each.license for each in records(found)} == expected


def licenses_of(folder: Path, files: Files, **settings: object) -> set[str | None]:
    return {record.license for record in records(only(folder, files, **settings))}


def test_precedence_of_tag_license_file_metadata_and_source(tmp_path: Path) -> None:
    files = {
        "a/x.py": b"# SPDX-License-Identifier: Zlib\nx = 1\n",
        "a/LICENSE": MIT,
        "a/pyproject.toml": b'[project]\nlicense = "Apache-2.0"\n',
    }
    assert licenses_of(tmp_path, files, license="isc") == {"zlib"}
    files["a/x.py"] = b"x = 1\n"
    assert licenses_of(tmp_path, files, license="isc") == {"mit"}
    del files["a/LICENSE"]
    assert licenses_of(tmp_path, files, license="isc") == {"apache-2.0"}
    del files["a/pyproject.toml"]
    assert licenses_of(tmp_path, files, license="isc") == {None}  # the source's own then holds
    assert outcomes(only(tmp_path, files, license="isc", licenses=("isc",))) == {"record": 1}


@pytest.mark.parametrize(
    "notice",
    [
        b"# This program is free software under the GNU General Public License version 3.\n",
        b"# Licensed under the Apache License, Version 2.0.\n",
        b"# Copyright The Millers. PROPRIETARY AND CONFIDENTIAL.\n",
        b"# Licensed under the Business Source License 1.1.\n",
    ],
)
def test_notices_in_source_files_are_not_read(tmp_path: Path, notice: bytes) -> None:
    assert licenses_of(tmp_path, {"a/LICENSE": MIT, "a/x.py": notice}) == {"mit"}
    assert licenses_of(tmp_path, {"a/x.py": notice}) == {None}


def test_unreadable_tag_is_unknown_even_beside_a_license(tmp_path: Path) -> None:
    files = {"a/LICENSE": MIT, "a/x.py": b"# SPDX-License-Identifier: MIT OR OR ISC\n"}
    assert licenses_of(tmp_path, files) == {"other"}
    assert outcomes(only(tmp_path, files, licenses="permissive")) == {"license": 1, "not_source": 1}


GPL = b"GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"
OURS = b"Copyright The Millers. All rights reserved. You may not copy this."
EITHER = b"This is made available under the terms of either of the licenses\nfound in LICENSE.APACHE or LICENSE.MIT."
APACHE = b"Apache License\nVersion 2.0, January 2004\n"
STATES_MIT = b'{\n  "license": "MIT"\n}'


@pytest.mark.parametrize(
    ("files", "license"),
    [
        ({"LICENSE": OURS, "LICENSE.jquery": MIT}, "other"),
        ({"LICENSE.txt": OURS, "package.json": STATES_MIT}, "other"),
        ({"COPYING": GPL, "LICENSE": MIT}, "other"),
        ({"LICENSE": MIT, "COPYING": MIT}, "mit"),
        ({"LICENSE": MIT, "LICENSE.md": OURS}, "other"),
        ({"LICENSE": EITHER, "LICENSE.APACHE": APACHE, "LICENSE.MIT": MIT}, "apache-2.0 OR mit"),
        ({"COPYING": b"Dual-licensed under the Unlicense and MIT.", "LICENSE-MIT": MIT}, "mit"),
        ({"LICENSE": b"Dual-licensed: buy a commercial license, or", "LICENSE-MIT": MIT}, "other"),
        ({"LICENSE": EITHER}, "other"),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "apache-2.0 OR mit"),
        ({"../LICENSE": MIT, "LICENSE.enterprise": OURS}, "other"),
        ({"../LICENSE": MIT, "LICENSE-MILL": OURS}, "other"),
        ({"../LICENSE": MIT, "LICENSE.rst": OURS}, "other"),
        ({"../LICENSE": MIT, "package.json": b'{\n  "license": "UNLICENSED"\n}'}, "other"),
        ({"../LICENSE": MIT, "package.json": b'{\n  "license": "SEE LICENSE IN ../LICENSE"\n}'}, "mit"),
        ({"../LICENSE": MIT, "license-check.py": b"SOLD = 'All rights reserved'"}, "mit"),
        ({"../LICENSE": MIT, "LICENSE-MILL.md": OURS}, "other"),
        ({"../LICENSE": MIT, "docs/LICENSE.rst": OURS}, "mit"),
        ({"../LICENSE": MIT, "LICENSE.rst": b"The mill is licensed by the stone, and only so."}, "other"),
        ({"../LICENSE": MIT, "package.json": b'{\n  "license": "Elastic-2.0"\n}'}, "other"),
        ({"LICENSE": MIT, "package.json": b'{\n  "license": "UNLICENSED"\n}'}, "mit"),
        ({"LICENSE-CODE": OURS, "LICENSE-EXAMPLES": MIT}, "other"),
        ({"PKG-INFO": b"License: Proprietary"}, "other"),
    ],
)
def test_what_rules_a_folder_is_not_outdone_by_what_can_be_read(
    tmp_path: Path, files: dict[str, bytes], license: str
) -> None:
    for ordered in (files, dict(reversed(files.items()))):
        found = only(tmp_path, {posixpath.normpath(f"a/b/{name}"): content for name, content in ordered.items()}
                     | {"a/b/x.py": b"x = 1\n"})  # fmt: skip
        assert {each.license for each in records(found)} == {license}


@pytest.mark.parametrize("name", ["LICENSE.rst", "license.md", "license.html"])
@pytest.mark.parametrize(
    ("page", "license"),
    [(b".. include:: ../LICENSE\n", "mit"), (b"Copyright The Millers: see the LICENSE file.", "mit"), (OURS, "other")],
)
def test_a_manuals_page_states_a_license_only_where_it_takes_rights(
    tmp_path: Path, name: str, page: bytes, license: str
) -> None:
    found = records(only(tmp_path, {"a/LICENSE": MIT, f"a/docs/{name}": page, "a/docs/conf.py": b"x = 1\n"}))
    assert {each.license for each in found} == {license}  # html is source too


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("# -*- coding: latin-1 -*-\ns = 'é'\n".encode("latin-1"), "é"),
        ("#!/bin/python\n# vim: set fileencoding=cp1251 :\ns = 'ж'\n".encode("cp1251"), "ж"),
        ("# coding: ascii\ns = 'ж'\n".encode(), "ж"),
        ("\ufeffs = 'ж'\n".encode(), "ж"),
        ("s = 'ж'\n".encode("utf-16"), "ж"),
        ("s = 'é'\n".encode("latin-1"), None),
        ("# coding: zip\ns = 'é'\n".encode("latin-1"), None),
    ],
)
def test_encodings_are_declared_or_utf8(tmp_path: Path, content: bytes, expected: str | None) -> None:
    found = only(tmp_path, {"a/x.py": content})
    if expected is None:
        assert outcomes(found) == {"not_utf8": 1}
    else:
        code = READER.document(records(found)[0], SETTINGS).text  # type: ignore[union-attr]
        assert f"s = '{expected}'" in code and "\ufeff" not in code


def test_a_file_over_the_limit_is_passed_over(tmp_path: Path) -> None:
    found = only(tmp_path, {"a/x.py": b"x" * 1001, "a/y.py": b"y" * 1000}, max_record_bytes=1000)
    assert outcomes(found) == {"too_large": 1, "record": 1}


def test_generated_minified_and_vendored_files_are_marked(tmp_path: Path) -> None:
    files = {"a/x.py": b"x = 1\n", "a/vendor/y_pb2.py": b"y = 1\n", "a/z.min.js": b"z()\n"}
    said = {
        each.identity.partition(" ")[2]: READER.document(each, SETTINGS).signals
        for each in records(only(tmp_path, files))
    }  # type: ignore[union-attr]
    assert said == {
        "x.py": {"generated": 0, "minified": 0, "vendored": 0},
        "vendor/y_pb2.py": {"generated": 1, "minified": 0, "vendored": 1},
        "z.min.js": {"generated": 0, "minified": 1, "vendored": 0},
    }


def test_tags_of_real_files(tmp_path: Path, data: Path) -> None:
    contents = pq.read_table(data / "code/header-test1.parquet")["contents"].to_pylist()
    found = records(only(tmp_path, {f"a/{number}.c": each.encode() for number, each in enumerate(contents)}))
    assert [each.content.decode() for each in found] == contents
    tag = "epl-2.0 OR apache-2.0 OR gpl-2.0-only WITH classpath-exception-2.0"
    tag += " OR gpl-2.0-only WITH openjdk-assembly-exception-1.0"
    assert [record.license for record in found] == [tag, None, tag, None, None, tag, None, None, tag, tag]
