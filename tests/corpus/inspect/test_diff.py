"""`corpus diff`: two small builds, every number recounted from the ledgers and the shards, a document at a time."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from corpus.cli import app
from corpus.errors import InputError
from corpus.inspect.diff import changed_documents
from corpus.inspect.diff.changed_documents import ABSENT
from corpus.inspect.diff.compare import BuildDiff, FilesDiff, compare_builds
from corpus.inspect.diff.show_diff import diff_page, print_diff
from corpus.store.finished_build import Build, open_build
from corpus.store.token_shards import open_token_shard
from tests.other_build import BOUND, other_built
from tests.small_build import HOSTILE, built, copy_build

SOURCES = ("books", "web")


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.getbasetemp()
    return built(base), other_built(base)


@pytest.fixture(scope="module")
def found(builds: tuple[Path, Path]) -> BuildDiff:
    return compare_builds(*builds)


def fates(build: Build, source: str) -> dict[str, str]:
    """Return the outcome of each document, found in plain steps."""
    clean, dedup, mix = build.job("clean", source), build.job("dedup"), build.job("mix", source)
    told: dict[str, str] = {}
    for task in range(len(clean.tasks)):
        for row in pq.read_table(clean.folder / f"dropped-{task:05d}.parquet").to_pylist():
            told.setdefault(row["id"], f"dropped: {row['rule']}")
        for row in pq.read_table(dedup.folder / f"decisions/{source}-{task:05d}.parquet").to_pylist():
            if row["reason"] is None or told.get(row["id"]) is None:
                told[row["id"]] = f"duplicate: {row['reason']}" if row["reason"] else "over quota"
    for split, name in (("train", "training shards"), ("holdout", "holdout shards")):
        for path in mix.table(split):
            told |= dict.fromkeys((row.tobytes().hex() for row in open_token_shard(path).ids_D16), name)
    return told


def test_every_document_is_told_by_its_fate_in_both(found: BuildDiff, builds: tuple[Path, Path]) -> None:
    for source in found.sources:
        a, b = (fates(open_build(folder), source.name) for folder in builds)
        expected = Counter((a.get(each, ABSENT), b.get(each, ABSENT)) for each in {*a, *b})
        assert source.same == sum(count for (one, other), count in expected.items() if one == other)
        moves = {(move.a, move.b): move.documents for move in source.moves}
        assert moves == {move: count for move, count in expected.items() if move[0] != move[1]}
        for move in source.moves:
            ids = sorted(each for each in {*a, *b} if (a.get(each, ABSENT), b.get(each, ABSENT)) == (move.a, move.b))
            assert [example.id for example in move.examples] == ids[:3]
        shards = ("training shards", "holdout shards")
        assert source.only_a == sum(a[each] in shards and b.get(each) not in shards for each in a)
        assert source.only_b == sum(b[each] in shards and a.get(each) not in shards for each in b)


def test_what_was_changed_is_among_the_moves(found: BuildDiff) -> None:
    books, web = found.sources
    assert any(move.b == "dropped: gopher_quality.mean_word_length" for move in books.moves)
    gone = [move for move in web.moves if move.b == ABSENT]
    assert sum(move.documents for move in gone) >= 25 and not any(move.a == ABSENT for move in web.moves)
    assert books.only_a > 0 and web.only_a > 0
    urls = [example.url for move in books.moves for example in move.examples]
    assert urls and all(url and url.startswith("https://books.example/") for url in urls)


def test_counts_are_those_of_the_ledgers(found: BuildDiff, builds: tuple[Path, Path]) -> None:
    for source in found.sources:
        counts = {each.name: (each.a, each.b) for each in source.counts}
        for number, build in enumerate(map(open_build, builds)):
            clean = build.job("clean", source.name).file.ledger
            mix = build.job("mix", source.name).file.ledger
            assert counts["records read"][number] == sum(row.records for row in clean)
            for name, rows, outcome, reason in (
                ("dropped by a rule", clean, "dropped", None),
                ("skipped", clean, "skipped", None),
                ("failed", clean, "failed", None),
                ("over quota", mix, "skipped", None),
                ("training shards", mix, "kept", "train"),
                ("holdout shards", mix, "kept", "holdout"),
            ):
                told = [row for row in rows if row.outcome == outcome and reason in (None, row.reason)]
                assert counts[name][number] == sum(row.records for row in told if row.source == source.name)
            tokens = sum(
                int(open_token_shard(path).offsets_D1[-1]) for path in build.table("mix", source.name, "train")
            )
            assert counts["training tokens"][number] == tokens


def test_rules_whose_credit_changed(found: BuildDiff, builds: tuple[Path, Path]) -> None:
    books = found.sources[0]
    (rule,) = [each for each in books.rules if each.rule == "gopher_quality.mean_word_length"]
    assert (rule.bound_a, rule.bound_b) == ("3..10", f"{BOUND:g}..10")
    credited = [
        sum(row.records for row in open_build(folder).job("clean", "books").file.ledger if row.reason == rule.rule)
        for folder in builds
    ]
    assert (rule.dropped_a, rule.dropped_b) == tuple(credited) and credited[0] == 0 < credited[1]


def test_settings_code_and_tokenizers(found: BuildDiff, builds: tuple[Path, Path]) -> None:
    settings = {each.path: (each.a, each.b, each.only) for each in found.settings}
    bound = settings.pop("sources.books.bounds.gopher_quality.mean_word_length.at_least")
    assert bound == (None, BOUND, "b")
    assert settings.pop("mix.tokens") == (30_000, 20_000, None)
    assert settings.pop("tokenizer.train.vocabulary") == (400, 380, None)
    assert settings == {} and found.code == ()
    assert found.tokenizer is not None
    vocabularies = []
    for folder in builds:
        (path,) = folder.glob("jobs/tokenizer-*/tokenizer.json")
        vocabularies.append(set(json.loads(path.read_text())["model"]["vocab"]))
    assert found.tokenizer.shared == len(vocabularies[0] & vocabularies[1])
    assert (found.tokenizer.vocabulary_a, found.tokenizer.vocabulary_b) == (528, 508)


def test_rules_of_a_source_that_one_build_lacks_did_not_change(
    found: BuildDiff, capsys: pytest.CaptureFixture[str]
) -> None:
    books, web = found.sources
    assert books.rules and books.changed_rules == books.rules
    alone = found.model_copy(update={"sources": (books.model_copy(update={"only": "a"}), web)})
    assert web.changed_rules == () == alone.sources[0].changed_rules
    title = "Rules whose bound or documents changed"
    print_diff(found)
    assert title in capsys.readouterr().out and f"<h2>{title}</h2>" in diff_page(found)
    print_diff(alone)
    assert title not in capsys.readouterr().out and title not in diff_page(alone)


def test_a_rule_whose_refusals_alone_changed_shows_them(found: BuildDiff, capsys: pytest.CaptureFixture[str]) -> None:
    books = found.sources[0]
    rule = books.rules[0].model_copy(update={"dropped_a": 7, "dropped_b": 7, "failing_a": 4321, "failing_b": 8765})
    print_diff(found.model_copy(update={"sources": (books.model_copy(update={"rules": (rule,)}),)}))
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith(f" books   {rule.rule}")]
    assert line.split()[-5:] == ["7", "7", "+0", "4,321", "8,765"]


def test_files_that_one_build_alone_read(found: BuildDiff, builds: tuple[Path, Path], tmp_path: Path) -> None:
    books, web = found.sources
    assert books.files is None
    assert web.files == FilesDiff(only_a=1, only_b=0, first_a=("web-b.jsonl.gz",), first_b=())
    other = copy_build(builds[0], tmp_path / "other")
    (path,) = other.glob("jobs/fetch.books-*/tasks/00000.json")
    task = json.loads(path.read_text())
    (file,) = task["facts"]["files"]
    more = [{**file, "name": f"{n}.jsonl", "sha256": None, "version": "v1"} for n in range(5)]
    task["facts"]["files"] = [*more, {**file, "sha256": "0" * 64}]
    path.write_text(json.dumps(task))
    changed = compare_builds(builds[0], other)
    names = ("books.jsonl",), ("0.jsonl", "1.jsonl", "2.jsonl")
    expected = FilesDiff(only_a=1, only_b=6, first_a=names[0], first_b=names[1])
    assert changed.sources[0].files == expected and changed.differs and not changed.settings
    done = CliRunner().invoke(app, ["diff", str(builds[0]), str(other), "--page", str(tmp_path / "d.html")])
    (told,) = [line for line in done.output.splitlines() if "books.jsonl" in line]
    assert told.split() == ["books", "1", "books.jsonl", "6", "0.jsonl,", "1.jsonl,", "2.jsonl,", "…"]
    assert "No difference" not in done.output
    page = (tmp_path / "d.html").read_text()
    title = "<h2>Files that only one build read</h2>"
    assert title in page and "0.jsonl, 1.jsonl, 2.jsonl, …" in page
    assert title not in diff_page(compare_builds(builds[0], builds[0]))


def test_the_other_way_round_is_the_mirror_image(found: BuildDiff, builds: tuple[Path, Path]) -> None:
    back = compare_builds(*reversed(builds))
    for one, other in zip(found.sources, back.sources, strict=True):
        assert {(m.a, m.b, m.documents) for m in one.moves} == {(m.b, m.a, m.documents) for m in other.moves}
        assert (one.only_a, one.only_b, one.same) == (other.only_b, other.only_a, other.same)
        assert [-count.difference for count in one.counts] == [count.difference for count in other.counts]


def test_in_several_ranges_of_ids_as_in_one(
    found: BuildDiff, builds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_documents, "DOCUMENTS_AT_ONCE", 20)
    assert compare_builds(*builds) == found


def test_a_build_and_itself(builds: tuple[Path, Path], tmp_path: Path) -> None:
    twin = copy_build(builds[0], tmp_path / "twin")
    same = compare_builds(builds[0], twin)
    assert not same.differs and all(not source.moves and source.same for source in same.sources)
    done = CliRunner().invoke(app, ["diff", str(builds[0]), str(twin), "--page", str(tmp_path / "d.html")])
    assert "No difference" in done.output and "No difference" in (tmp_path / "d.html").read_text()


def test_a_source_that_only_one_build_has(builds: tuple[Path, Path], tmp_path: Path) -> None:
    less = copy_build(builds[0], tmp_path / "less")
    summary = json.loads((less / "summary.json").read_text())
    summary["sources"] = [source for source in summary["sources"] if source["name"] != "web"]
    (less / "summary.json").write_text(json.dumps(summary))
    web = compare_builds(builds[0], less).sources[1]
    assert (web.name, web.only, web.same, web.only_b) == ("web", "a", 0, 0)
    assert {move.b for move in web.moves} == {ABSENT} and all(count.b == 0 for count in web.counts)
    assert {rule.bound_b for rule in web.rules} == {None}


def test_settings_of_another_release_and_its_code(builds: tuple[Path, Path], tmp_path: Path) -> None:
    other = copy_build(builds[0], tmp_path / "other")
    recipe = json.loads((other / "recipe.json").read_text())
    recipe |= {"new": None, "empty": [], "said": "yes"}
    del recipe["seed"]
    (other / "recipe.json").write_text(json.dumps(recipe))
    for kind, name in (("clean.web", "pyarrow"), ("clean.books", "pyarrow"), ("clean.web", "reader")):
        (path,) = other.glob(f"jobs/{kind}-*/job.json")
        job = json.loads(path.read_text())
        job["description"]["versions"][name] = "new"
        path.write_text(json.dumps(job))
    found = compare_builds(builds[0], other)
    assert {(each.path, each.only) for each in found.settings} == {("said", "b"), ("seed", "a")}
    assert {(each.job, each.name, each.b) for each in found.code} == {
        ("clean", "pyarrow", "new"),
        ("clean (web)", "reader", "new"),
    }


def test_on_a_terminal_and_as_json(found: BuildDiff, builds: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    a, b = map(str, builds)
    done = CliRunner().invoke(app, ["diff", a, b, "--page", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    for text in (
        "tokenizer.train.vocabulary",
        "gopher_quality.mean_word_length",
        ABSENT,
        "Tokenizers differ",
        str(page),
    ):
        assert text in done.output
    tables = [line for line in done.output.splitlines()[3:-1] if not line.startswith("  ")]
    assert max(map(len, tables)) <= 100
    assert page.read_text(encoding="utf-8") == diff_page(found)
    done = CliRunner().invoke(app, ["diff", a, b, "--json"], catch_exceptions=False)
    assert BuildDiff.model_validate_json(done.output) == found


def test_hostile_names_stay_text(
    found: BuildDiff, builds: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = FilesDiff(only_a=9, only_b=0, first_a=(HOSTILE, "x" * 300), first_b=())
    source = found.sources[1].model_copy(update={"name": HOSTILE, "files": files})
    move = source.moves[0].model_copy(update={"a": HOSTILE})
    evil = found.model_copy(
        update={"name_a": HOSTILE, "folder_b": HOSTILE, "sources": (source.model_copy(update={"moves": (move,)}),)}
    )
    assert "<script>alert" not in diff_page(evil) and "&lt;script&gt;alert" in diff_page(evil)
    print_diff(evil)
    output = capsys.readouterr().out
    assert 79 <= output.count("x") < 140, "a long name is cut"
    assert "\x1b" not in output and "\u202e" not in output and "[bold]" in output


def test_what_is_no_build_is_refused(builds: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished build"):
        compare_builds(builds[0], tmp_path)
    done = CliRunner().invoke(app, ["diff", str(builds[0]), str(tmp_path)])
    assert isinstance(done.exception, InputError)
    a = str(builds[0])
    done = CliRunner().invoke(app, ["diff", a, a, "--page", str(tmp_path / "no" / "such.html")])
    assert isinstance(done.exception, InputError) and "--page" in str(done.exception)
