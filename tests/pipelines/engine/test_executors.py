"""Local, Ray and Slurm executors with tasks that succeed, fail or are killed.

Verified to fail if failures come from exceptions alone (Ray raises none for a killed process), if one killed task makes
all tasks of its wave run again, and if Ray's actors keep datatrove's pool or its clean-up: these wait forever for a
killed process or for room on the cluster.
"""

import _thread
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.stopping import stoppable
from pipelines.engine.executors.local import Local
from pipelines.engine.executors.ray import Ray
from pipelines.engine.executors.slurm import Slurm
from pipelines.engine.profile import Profile, catalog, read_profile
from pipelines.engine.run_jobs import run_wave, same_command
from pipelines.engine.wave import Wave, last_line
from tests.pipelines.engine.made_wave import runs, wave
from tests.slurm_here import SLURM_PROFILE, slurm_skip_reason

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    pytest.importorskip("ray")
    profile = Ray(workers=2, memory_per_cpu=1)
    with pytest.MonkeyPatch.context() as patch, profile.opened(ROOT):
        patch.setenv("PYTHONPATH", str(ROOT))
        yield profile


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    if reason := slurm_skip_reason():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setattr("pipelines.engine.executors.slurm.DISK_LAG_S", 0.5)  # a local disk shows new files at once
        yield Slurm.model_validate(SLURM_PROFILE)


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.own_process), "slurm"])
def profile(request: pytest.FixtureRequest) -> Profile:
    return Local(workers=2) if request.param == "local" else request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_each_task_runs_once(profile: Profile, tmp_path: Path) -> None:
    made, messages = wave(tmp_path, *["grind"] * 3)
    run_wave(profile, made)
    assert runs(tmp_path, 3) == [1] * 3 and made.unfinished() == [] and messages == []


def test_error_of_a_task_is_reported_once(profile: Profile, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "grind", "refuse", "grind")
    with pytest.raises(CorpusError) as failed:
        run_wave(profile, made)
    message = str(failed.value)
    assert message.startswith("grind, task 1: the mill's gate is shut; open it\n")
    assert message.count("the mill's gate is shut") == 1 and message.endswith("the same call runs the rest")
    assert "traceback" not in message and runs(tmp_path, 3)[1] == 1  # an error of ours is not retried
    if not isinstance(profile, Local):
        assert "rank 1 of 3" in message and made.unfinished() == [1]  # the other tasks finish


def test_unexpected_error_names_its_traceback_file(profile: Profile, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "break")
    with pytest.raises(CorpusError, match=r"^grind, task 0: ValueError: the wheel is broken\n") as failed:
        run_wave(profile, made)
    trace = tmp_path / "logs" / "grind-00000.traceback.txt"
    assert f"traceback: {trace}" in str(failed.value) and "made_wave.py" in trace.read_text()


def test_only_the_killed_task_runs_again(profile: Profile, tmp_path: Path) -> None:
    made, messages = wave(tmp_path, "grind", "die once", "grind")
    run_wave(profile, made)
    assert runs(tmp_path, 3) == [1, 2, 1] and made.unfinished() == []
    assert messages == ["1 of 3 tasks were killed from outside; running them again"]
    assert len(pickle.loads((made.logs / "again-1" / "work.pickle").read_bytes())) == 1


def test_task_that_is_killed_at_each_start_fails_the_wave(profile: Profile, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "die", "grind")
    with pytest.raises(CorpusError) as failed:
        run_wave(profile, made)
    killed = "grind, task 0: its process was killed from outside, or its machine was lost, 3 times"
    assert str(failed.value).startswith(killed) and runs(tmp_path, 2) == [3, 1]
    assert not isinstance(profile, Local) or "it ended by signal 9 (Killed)" in str(failed.value)


def test_death_that_leaves_a_verdict_is_no_start_that_counts(tmp_path: Path) -> None:
    """The next start leaves out the bytes that ended the last one, so a task may have many such deaths."""
    made, _ = wave(tmp_path, "die of 4 parses")
    run_wave(Local(workers=1), made)
    assert runs(tmp_path, 1) == [5] and made.unfinished() == []


def test_slurm_error_names_log_last_line_and_command(slurm: Slurm, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "grind", "die")
    with pytest.raises(CorpusError) as failed:
        run_wave(slurm.model_copy(update={"retries": 0}), made)
    (array,) = (made.logs / "arrays").read_text().split()
    log = made.logs / "slurm" / f"{array}_1.out"
    assert log.is_file() and f"element 1 of Slurm's array {array}; its log is {log}" in str(failed.value)
    assert f"the log ends with: {last_line(log)}" in str(failed.value) and "Killed" in str(last_line(log))
    assert f"sbatch --array=1 {made.logs}/array-0/launch_script.slurm" in str(failed.value)


def test_storage_error_while_polling_does_not_cancel_the_array(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if an error while reading manifests counts as an error of the wave, which cancels the array."""
    made, _ = wave(tmp_path, "grind")
    calls, unfinished = [0], Wave.unfinished

    def fail_every_other_time(self: Wave) -> list[int]:
        calls[0] += 1
        if calls[0] % 2:
            raise CorpusError("no route to the storage")
        return unfinished(self)

    monkeypatch.setattr(Wave, "unfinished", fail_every_other_time)
    made.prepare()
    slurm.run(made)
    assert runs(tmp_path, 1) == [1] and calls[0] >= 2


def test_unguarded_script_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    """Pool workers import the caller's script; without `if __name__` it would start a build in each of them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "from tests.pipelines.engine.made_wave import wave\nfrom pipelines.engine.run_jobs import run_wave\n"
        "from pipelines.engine.executors.local import Local\n"
        "with open(sys.argv[1] + '/calls', 'a') as file: file.write('x')\n"
        "run_wave(Local(workers=2), wave(Path(sys.argv[1]), 'grind', 'grind')[0])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(script), str(tmp_path)], env=environment, check=True, timeout=120)
    assert (tmp_path / "calls").read_text() == "x" and runs(tmp_path, 2) == [1, 1]


def test_task_list_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """The list may contain signed addresses."""
    made, _ = wave(tmp_path, "grind")
    made.prepare()
    made.file.chmod(0o644)
    made.prepare()
    assert made.file.stat().st_mode & 0o777 == 0o600


def test_tasks_beyond_the_array_limit_get_another_array(slurm: Slurm, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "grind", "grind", "grind", "grind", "refuse")
    with pytest.raises(CorpusError) as failed:
        run_wave(slurm.model_copy(update={"max_array_size": 2, "tasks_per_job": 2}), made)
    arrays = (made.logs / "arrays").read_text().split()
    assert len(arrays) == 2 and runs(tmp_path, 5) == [1] * 5
    assert f"element 0 of Slurm's array {arrays[1]}" in str(failed.value)
    assert f"sbatch --array=0 {made.logs}/array-1/launch_script.slurm" in str(failed.value)


def test_slurm_checks_the_profile_before_the_build(slurm: Slurm, tmp_path: Path) -> None:
    slurm.check(tmp_path)
    with pytest.raises(InputError, match=r"Slurm rejects this profile.*partition"):
        slurm.model_copy(update={"partition": "nowhere"}).check(tmp_path)
    with pytest.raises(InputError, match="a path for Slurm may hold"):
        slurm.check(tmp_path / "two words")


def test_missing_slurm_commands_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sbatch, squeue, scancel not found"):
        Slurm(partition="cpu").check(tmp_path)


def test_missing_ray_is_reported_with_its_install_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'gristmill\[ray\]'"):
        Ray().check(tmp_path)


@pytest.mark.own_process
def test_task_larger_than_every_ray_node_is_refused(ray: Ray, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "grind")
    with pytest.raises(CorpusError, match="no Ray node has 4096 CPUs"):
        run_wave(ray.model_copy(update={"cpus_per_task": 4096}), made)


@pytest.mark.own_process
def test_ray_sends_no_usage_statistics_and_opens_no_dashboard(ray: Ray, tmp_path: Path) -> None:
    run_wave(ray, wave(tmp_path, "grind")[0])
    import ray as library
    from ray._common.usage import usage_lib

    assert library.is_initialized() and not usage_lib.usage_stats_enabled()
    assert library._private.worker._global_node.address_info["webui_url"] in (None, "")  # no dashboard


@pytest.mark.own_process
def test_stopped_build_does_not_wait_for_room_on_ray(ray: Ray, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, *["wait"] * 12)  # two of them have room

    def stop() -> None:
        while not any(runs(tmp_path, 12)):
            time.sleep(0.1)
        _thread.interrupt_main(signal.SIGTERM)  # background processes ignore SIGINT

    with pytest.raises(CorpusError, match="stopped"), stoppable():
        threading.Thread(target=stop, daemon=True).start()
        run_wave(ray.model_copy(update={"workers": 12}), made)
    sys.modules["ray"].shutdown()  # as the profile does; the next test starts Ray again
    assert sum(runs(tmp_path, 12)) <= 2


def test_every_profile_setting_is_documented() -> None:
    page = (ROOT / "docs" / "many_machines.md").read_text()
    fields = {name for profile in catalog().values() for name in profile.model_fields}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []


def test_messages_name_the_command_that_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/x/bin/corpus", "build", "a recipe.yaml", "--on", "slurm"])
    assert same_command() == "`corpus build 'a recipe.yaml' --on slurm`"
    monkeypatch.setattr("sys.argv", ["/x/corpus/__main__.py", "build"])
    assert same_command() == "`corpus build`"
    monkeypatch.setattr("sys.argv", ["/x/pytest"])
    assert same_command() == "the same call"


def test_last_line_of_a_log_has_no_control_characters(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\x1b[2Jlast \xff\n\n" + b" " * 50)
    assert last_line(log) == "?[2Jlast \ufffd"
    log.write_bytes(b"\n")
    assert last_line(log) is None and last_line(tmp_path / "absent") is None


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "recipes/on").glob("*.yaml")))
def test_shipped_profiles_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert read_profile(name).executor == name


def test_catalog_lists_the_executors() -> None:
    assert set(catalog()) == {"local", "ray", "slurm"}
    assert isinstance(read_profile(None), Local)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("executor: slrum\n", r"line 1: `executor`: .*found \"slrum\"; did you mean `slurm`\?"),
        ("executor: slurm\n", r"`partition` is required"),
        ("executor: local\npartition: cpu\n", r"line 2: `partition` is not a setting"),
        ("executor: slurm\npartition: cpu\ntime: 90\n", r"line 3: `time`"),
        (
            "executor: slurm\npartition: cpu\nsbatch: {array: 0-9}\n",
            r"line 3: `sbatch`: `array` is not an sbatch",
        ),
        ('executor: slurm\npartition: cpu\nsbatch: {account: "a\\nb"}\n', r"must be one line"),
        ("executor: ray\nworkers: 0\nmemory_per_cpu: lots\n", r"2 mistakes"),
        ("connections: 65\n", r"line 1: `connections`"),
        (
            "executor: slurm\npartition: cpu\nstages:\n  dedup: {time: '1:00:00'}\n  dedupe: {memory_per_cpu: 9}\n",
            r"line 5: `stages.dedupe`: no such stage; did you mean `dedup`\?",
        ),
        (
            "executor: ray\nstages: {dedup: {memory_per_cpus: 9}}\n",
            r"line 2: `stages.dedup.memory_per_cpus` is not a setting; did you mean `memory_per_cpu`\?",
        ),
        ("executor: ray\nstages: {mix: {partition: x}}\n", r"`stages.mix.partition` is not a setting"),
        ("executor: local\nstages: {dedup: {memory_per_cpu: 9}}\n", r"line 2: `stages` is not a setting"),
    ],
)
def test_mistakes_in_a_profile_are_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "profile.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_profile(str(tmp_path / "profile.yaml"))


def test_profile_sets_network_access(tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text("cache: /c\nconnections: 9\ns3: {requester_pays: true}\n")
    access = read_profile(str(tmp_path / "profile.yaml")).access("mill@example.org")
    assert (access.cache, access.contact, access.connections) == (Path("/c"), "mill@example.org", 9)
    assert access.s3.requester_pays and os.fspath(access.cache) == "/c"
