"""`corpus plan --dry-run` opens no socket and no file of a source, for any recipe."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WATCHED = """
import sys
from pathlib import Path
sources = sys.argv.pop(1)
def watch(event, arguments):
    if event.startswith("socket.") and event != "socket.gethostname":
        sys.stderr.write(f"WATCHED {event} {arguments}\\n")
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(sources):
        sys.stderr.write(f"WATCHED {event} {arguments[0]}\\n")
sys.addaudithook(watch)
from corpus.cli import main
main()
"""


def dry_run(recipe: Path, folder: Path, *more: str, cut: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it with an empty cache, and report every socket and every file of a source that it opens."""
    command = [sys.executable, "-c", WATCHED, str(folder / "files"), "plan", str(recipe), "--dry-run", *more]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200",
                   "XDG_CACHE_HOME": str(folder / "cache")}  # fmt: skip
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", *command] if cut else command,
        env=environment, capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert "WATCHED" not in done.stderr, done.stderr
    assert not (folder / "cache").exists(), "nothing is written"
    return done


@pytest.mark.parametrize("name", ["quickstart", "web_books_code"])
def test_recipes_list_where_everything_comes_from(tmp_path: Path, name: str) -> None:
    done = dry_run(ROOT / "recipes" / f"{name}.yaml", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    for source in listed["sources"]:
        assert source["from"] and source["license"] and source["reader"], source
        assert all("://" in each["at"] for each in source["from"]), source
        assert source["bytes"] is None, "not looked up"
    assert "lid.176" in listed["models"][0]["address"] and "CC BY-SA" in listed["models"][0]["license"]
    assert sum(source["tokens_asked"] for source in listed["sources"]) == listed["tokens_asked"]
    text = dry_run(ROOT / "recipes" / f"{name}.yaml", tmp_path).stdout
    assert "unknown" in text and "tokenizer" in text and "lid.176" in text
    for source in listed["sources"]:
        for each in source["from"]:
            assert each["address"] in text and each["at"] in text


def test_without_a_network(tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "--net", "--map-root-user", "true"]).returncode:
        pytest.skip("needs network namespaces: unshare --net")
    done = dry_run(ROOT / "recipes" / "web_books_code.yaml", tmp_path, cut=True)
    assert done.returncode == 0, done.stderr


def test_local_files_are_counted_but_not_read(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "files" / name).write_text('{"text": "words"}\n')
    common = {"license": "cc0-1.0", "share": 0.25}
    crawl = {"reader": "common_crawl", "crawl": "CC-MAIN-2024-22", "segments": 3, **common, "license": "unknown"}
    sources = [
        {"name": "here", "reader": "records", "paths": ["files/*.jsonl"], **common},
        {"name": "there", "reader": "records", "paths": [f"file://{tmp_path}/files/a.jsonl"], **common},
        {"name": "web", "at": "https://user.example/crawl?signature=secret", **crawl},
        {"name": "bucket", "at": "s3://bucket", "select": {"languages": ["eng"]}, **crawl},
    ]
    recipe = tmp_path / "made.yaml"
    recipe.write_text(json.dumps({"format_version": 1, "name": "made", "sources": sources}))
    done = dry_run(recipe, tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    listed = {source["name"]: source for source in json.loads(done.stdout)["sources"]}
    assert (listed["here"]["files"], listed["here"]["bytes"]) == (2, 36)
    assert (listed["there"]["files"], listed["there"]["bytes"]) == (1, 18)
    assert listed["web"]["files"] == 3 and listed["web"]["bytes"] is None and "secret" not in str(listed["web"]["from"])
    assert listed["bucket"]["from"][0]["at"] == "s3://bucket/crawl-data/CC-MAIN-2024-22/cc-index-table.paths.gz"
    assert listed["bucket"]["settings"]["select"] and listed["bucket"]["tokens_asked"] is None


def test_mistakes_in_the_recipe_are_errors(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text("format_version: 1\nname: bad\nsources: []\n")
    done = dry_run(recipe, tmp_path)
    assert done.returncode == 2 and "sources" in done.stderr
    done = dry_run(ROOT / "recipes" / "quickstart.yaml", tmp_path, "--forecast", "5%")
    assert done.returncode == 2 and "give only one of them" in done.stderr


def test_a_sample_is_part_of_the_recipe(tmp_path: Path) -> None:
    done = dry_run(ROOT / "recipes" / "quickstart.yaml", tmp_path, "--sample", "20", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["sample"]["files"] == 20
