"""A parser that hangs, fills the memory or crashes costs its record alone, by name, and each rerun decides the same.

Verified to fail if the evidence of a death is not read, if verdicts are not written, if the limits outlive the parse or
hold while a kernel is compiled, and if such a death is told as a kill from outside.
"""

import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from numba.core import event

from corpus import parse_limits
from corpus.compiled import jit
from corpus.parse_limits import ParseLimits, read_evidence
from pipelines.engine.exhausted import MAX_VERDICTS, ExhaustedError, ParseGuard, deaths, verdicts
from pipelines.engine.job_output import JobOutput
from tests.pipelines.engine.test_task import JOB
from tests.small_build import prose

DOCUMENTS = 60
POISON = {5: "document:cpu", 17: "document:memory", 23: "document:crash", 31: "document:stack"}
NOT_PRODUCTS = ("logs", "run.json", ".lock", "progress")


def write_source(path: Path, poison: dict[int, str]) -> None:
    lines = [
        json.dumps({"id": str(number), "text": prose(number) + f" POISON:{poison.get(number, '')}"})
        for number in range(DOCUMENTS)
    ]
    path.write_text("".join(f"{line}\n" for line in lines))


def write_recipe(folder: Path, poison: dict[int, str]) -> Path:
    write_source(folder / "a.jsonl", poison)
    source = {"name": "a", "reader": "records", "paths": [str(folder / "a.jsonl")], "share": 1, "license": "mit",
              "id_field": "id", "identify_language": False, "max_failed": "100%"}  # fmt: skip
    recipe = {"format_version": 1, "name": "poison", "sources": [source],
              "tokenizer": {"train": {"vocabulary": 300, "sample_bytes": "40kB"}}}  # fmt: skip
    path = folder / "poison.yaml"
    path.write_text(json.dumps(recipe))
    return path


def start(folder: Path, recipe: Path, out: str) -> subprocess.Popen[str]:
    """Start a build whose parsers can be poisoned."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "poison.py", site / "sitecustomize.py")
    search = os.pathsep.join([str(site), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "corpus", "build", str(recipe), "--out", out, "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": search}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def build(folder: Path, recipe: Path, out: str) -> str:
    process = start(folder, recipe, out)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    return printed


def outcomes(out: Path) -> list[tuple[str, str]]:
    (table,) = out.glob("jobs/clean.a-*/records-00000.parquet")
    return [(row["outcome"], row["reason"]) for row in pq.read_table(table).to_pylist()]


def products(out: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(NOT_PRODUCTS)}


def test_each_limit_costs_its_record_alone(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, POISON), tmp_path / "out"
    printed = build(tmp_path, recipe, str(out))
    got = outcomes(out)
    assert {number for number, outcome in enumerate(got) if outcome == ("failed", "exhausted")} == set(POISON)
    assert sum(outcome == "kept" for outcome, _ in got) == DOCUMENTS - len(POISON)
    assert f"a: {len(POISON)} records exhausted or crashed a parser" in " ".join(printed.split())
    assert printed.count("took more than 768 MiB of memory") == 2 and printed.count("crashed the parser") == 1
    assert printed.count("1 of 1 tasks exhausted or crashed a parser; running them again") == 2  # by signals
    (file,) = out.glob("jobs/clean.a-*/exhausted/00000.json")
    found = [verdict["limit"] for verdict in json.loads(file.read_text())["verdicts"]]
    assert sorted(found) == ["cpu", "crash", "memory", "memory"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cpu", "memory", "crash"])
def test_reader_that_is_exhausted_loses_the_rest_of_its_part(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    build(tmp_path, write_recipe(tmp_path, {40: f"read:{kind}"}), str(out))
    got = outcomes(out)
    assert len(got) == 41 and got[40] == ("failed", "exhausted") and {outcome for outcome, _ in got[:40]} == {"kept"}


@pytest.mark.slow
def test_kills_from_outside_change_nothing(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, POISON)
    expected = tmp_path / "expected"
    build(tmp_path, recipe, str(expected))
    draw, out = random.Random(4), tmp_path / "killed"
    for _ in range(4):
        process = start(tmp_path, recipe, str(out))
        time.sleep(draw.uniform(2, 9))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    build(tmp_path, recipe, str(out))
    assert products(out) == products(expected)


def test_kernel_is_compiled_without_limits(tmp_path: Path) -> None:
    limits = []

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, event: event.Event) -> None:
            limits.append(signal.getitimer(signal.ITIMER_PROF)[0])

        on_end = on_start

    def kernel(number: int) -> int:
        return number + 1

    with ParseLimits(tmp_path / "evidence") as parse, event.install_listener("numba:compile", Listener()):
        parse.arm(b"a page")
        assert jit(kernel)(1) == 2
        assert limits == [0.0, pytest.approx(parse_limits.CPU_S, abs=1)]  # the product's listener was asked before ours
        assert signal.getitimer(signal.ITIMER_PROF)[0] > 0
    parse_limits.lift()  # without limits, nothing happens
    parse_limits.restore()
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0


def test_limits_leave_the_process_as_it_was(tmp_path: Path) -> None:
    before = (
        resource.getrlimit(resource.RLIMIT_DATA),
        faulthandler.is_enabled(),
        signal.getitimer(signal.ITIMER_PROF),
        signal.getsignal(signal.SIGPROF),
    )
    evidence = tmp_path / "evidence"
    with ParseLimits(evidence) as limits:
        limits.arm(b"mark")
        assert signal.getitimer(signal.ITIMER_PROF)[0] > 0
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] > 0
        with pytest.raises(MemoryError):
            bytes(3 << 30)
        limits.disarm()
        assert len(bytes(1 << 30)) == 1 << 30
        assert read_evidence(evidence) is None
    after = (
        resource.getrlimit(resource.RLIMIT_DATA),
        faulthandler.is_enabled(),
        signal.getitimer(signal.ITIMER_PROF),
        signal.getsignal(signal.SIGPROF),
    )
    assert before == after and not evidence.exists()


def test_crash_outside_of_a_parse_is_no_verdict(tmp_path: Path) -> None:
    script = (
        "import ctypes, pathlib, sys; from corpus.parse_limits import ParseLimits\n"
        "with ParseLimits(pathlib.Path(sys.argv[1])) as limits:\n"
        "    limits.arm(b'x'); limits.disarm(); ctypes.string_at(0)\n"
    )
    evidence = tmp_path / "evidence"
    assert subprocess.run([sys.executable, "-c", script, str(evidence)]).returncode == -signal.SIGSEGV
    assert evidence.stat().st_size > parse_limits.MARK_BYTES and read_evidence(evidence) is None


def test_long_decompression_starts_the_time_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_limits, "CPU_S", 0.5)
    parse_limits.rearm()  # without limits, nothing happens
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    with ParseLimits(tmp_path / "evidence") as limits:
        limits.arm(b"x")
        end = time.process_time() + 1.5
        while time.process_time() < end:
            parse_limits.rearm()
        limits.disarm()


def test_rest_of_a_task_fails_after_too_many_verdicts(tmp_path: Path) -> None:
    """A rerun that finds all verdicts decides as the run that made them."""
    output = JobOutput(tmp_path, JOB)
    runs = []
    for _ in range(2):
        outcomes = []
        with ParseGuard(output, 0, "host.1") as guard:
            for number in range(3 * MAX_VERDICTS):
                try:
                    with guard.at("document", "file", 0, number):
                        if number % 2:
                            raise MemoryError
                    outcomes.append("kept")
                except ExhaustedError as error:
                    outcomes.append(error.reason)
        runs.append(outcomes)
    assert runs[0] == runs[1] == [*(["kept", "exhausted"] * MAX_VERDICTS), *["not_parsed"] * MAX_VERDICTS]
    assert deaths(output, 0) == len(verdicts(output, 0)) == MAX_VERDICTS
