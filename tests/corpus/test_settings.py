"""Settings files: all mistakes are reported at once with their lines, and YAML gives plain values only."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import InputError
from corpus.settings import Quantity, Share, Strict, nearest, override, parse_yaml, read_yaml
from corpus.validation import validate


class Inner(Strict):
    """Group of settings."""

    depth: int = 1
    kind: Literal["thin", "thick"] = "thin"

    RETIRED: ClassVar[Mapping[str, str]] = {"width": "depth says it all; remove it"}


class Outer(Strict):
    """Settings file."""

    name: str
    size: Quantity = 1
    part: Share = 0.5
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()


def check(text: str) -> Outer:
    return validate(Outer, parse_yaml(text, name="file.yaml", what="settings file"))


def message(text: str) -> str:
    with pytest.raises(InputError) as error:
        check(text)
    assert error.value.exit_code == 2
    return str(error.value)


def test_all_mistakes_are_reported_with_their_lines() -> None:
    report = message("name: 7\nsize: 3 elephants\npart: 140%\ninner:\n  deph: 2\n  kind: thic\nmany:\n  - depth: x\n")
    assert report.splitlines()[0] == "file.yaml: 6 mistakes"
    assert [line.split(":")[0].strip() for line in report.splitlines()[1:]] == [
        "line 1", "line 2", "line 3", "line 5", "line 6", "line 8",
    ]  # fmt: skip
    assert "`inner.deph` is not a setting; did you mean `depth`?" in report
    assert "did you mean `thick`?" in report
    assert "3 elephants" in report and "140%" in report


def test_long_lists_of_allowed_names_are_shortened() -> None:
    names = [f"{number:04}" for number in range(2000)]
    assert nearest("else", names[:12]) == f"; allowed: {', '.join(names[:12])}"
    assert nearest("else", names) == "; allowed: 0000, 0001, 0002, 0003, 0004 and 1995 more"
    assert nearest("0007x", names) == "; did you mean `0007`?"
    assert nearest("else", []) == ""


def test_missing_setting_is_named() -> None:
    assert "`name` is required" in message("size: 1")


def test_quantities_and_shares_accept_units() -> None:
    found = check("name: a\nsize: 1.5 MiB\npart: 12.5%\n")
    assert (found.size, found.part) == (1_572_864, 0.125)


def test_yaml_1_1_booleans_and_numbers_stay_strings() -> None:
    assert parse_yaml("a: [no, on, yes, 0o7, 1_000, 12:30]", name="f", what="w").data == {
        "a": ["no", "on", "yes", "0o7", "1_000", "12:30"]
    }
    assert parse_yaml("a: [true, null, ~, 3, -2.5, 1e3, '3']", name="f", what="w").data == {
        "a": [True, None, None, 3, -2.5, 1000.0, "3"]
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("- a\n- b\n", "mapping"),
        ("just words", "mapping"),
        ("a: [1, 2\n", "not valid YAML: line"),
        ("name: a\nname: b\n", "line 2: `name` is given twice"),
        ("name: !!python/object/apply:os.system ['touch pwned']\n", "line 1"),
        ("name: !!python/name:os.system\n", "line 1"),
        ("name: &x a\nsize: *x\n", "anchors and aliases are not supported"),
        ("? [a, b]\n: 1\n", "plain name"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("name: \x00", "YAML"),
    ],
)
def test_yaml_beyond_plain_values_is_refused(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in message(text)
    assert not list(tmp_path.iterdir())


def test_binary_large_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\x80\x81\xff")
    (tmp_path / "large.yaml").write_bytes(b"a: 1\n" * 300_000)
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    large = "over 1000000 bytes"
    for name, error in (("binary", "not UTF-8"), ("large", large), ("endless", large), ("missing", "cannot read")):
        with pytest.raises(InputError, match=error):
            read_yaml(tmp_path / f"{name}.yaml", what="recipe")


def test_override_sets_nested_values_and_refuses_bad_ones() -> None:
    document = parse_yaml("name: a\ninner:\n  depth: 1\nmany:\n  - depth: 3\n", name="f", what="w")
    changed = validate(Outer, override(document, ["inner.depth=9", 'many.0."kind"=thick', "size=2kB"]))
    assert (changed.inner.depth, changed.many[0].kind, changed.size) == (9, "thick", 2000)
    assert validate(Outer, document).inner.depth == 1
    for wrong in ("inner", "name.deep=1", "many.7.kind=thin", "=1"):
        with pytest.raises(InputError, match="--set"):
            override(document, [wrong])


def test_mistakes_of_assignments_name_them() -> None:
    """Fails if the line of a value that an assignment replaced, or of a group that it added, is given."""
    document = parse_yaml("name: a\nsize: 1\ninner:\n  depth: 1\nmany:\n  - depth: 3\n", name="f", what="w")
    wrong = ["inner.kind=7", "size=lots", "other.deep=1", "many.0.depth=x", "part=2"]
    with pytest.raises(InputError) as error:
        validate(Outer, override(override(document, ["size=2", *wrong]), ["name=b"]))
    assert str(error.value).splitlines() == [
        "f: 5 mistakes",
        "  --set size=lots: `size`: expected a number with an optional k, M, G, T, Ki, Mi, Gi or Ti, such as "
        "64MB or 256Ki; found 'lots'",
        "  --set part=2: `part`: expected a share between 0 and 1, or a percentage such as 1%; found 2",
        "  --set inner.kind=7: `inner.kind`: input should be 'thin' or 'thick'; found 7",
        '  --set many.0.depth=x: `many.0.depth`: input should be a valid integer; found "x"',
        "  --set other.deep=1: `other` is not a setting; allowed: inner, many, name, part, size",
    ]


def test_mistakes_between_values_name_the_assignments_of_any() -> None:
    """Fails if only the line of one value is given, or if assignments of others are named."""
    document = parse_yaml("name: a\nsize: 1\ninner:\n  depth: 1\n", name="f", what="w")
    found = [(("size",), "size 1 and part 2 differ"), (("inner",), "inner is odd"), (("name",), "name a is taken")]
    changed = override(document, ["part=0.5", "inner.depth=9"])
    with pytest.raises(InputError) as error:
        validate(Outer, changed, lambda outer: found)  # type: ignore[arg-type,return-value]
    assert str(error.value).splitlines()[1:] == [
        "  line 1: name a is taken",
        "  line 2: size 1 and part 2 differ (--set part=0.5)",
        "  line 3: inner is odd (--set inner.depth=9)",
    ]


def test_a_retired_setting_says_what_to_do() -> None:
    assert "line 3: `inner.width` is no longer a setting: depth says it all" in message("name: a\ninner:\n  width: 2\n")
    assert "line 3: `many.0.width` is no longer" in message("name: a\nmany:\n - width: 2\n")


@given(st.text(max_size=200))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        parse_yaml(text, name="f", what="w")
    except InputError:
        return


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(raw)
        file.flush()
        try:
            read_yaml(Path(file.name), what="recipe")
        except InputError:
            return
