"""Profile for tests on the Slurm cluster of this machine, and the reason to skip them without one."""

import shutil
import subprocess

SLURM_PROFILE: dict[str, object] = {"executor": "slurm", "partition": "cpu", "time": "0:20:00", "memory_per_cpu": 1}


def slurm_skip_reason() -> str | None:
    """Return the reason to skip tests on Slurm, or None if a node is idle."""
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        return "needs a Slurm cluster: sbatch is not installed"
    result = subprocess.run(["sinfo", "-h", "-o", "%P %t"], capture_output=True, text=True, timeout=60, check=False)
    states = [line.split() for line in result.stdout.splitlines()]
    if any(name.rstrip("*") == SLURM_PROFILE["partition"] and state in ("idle", "mix") for name, state in states):
        return None
    return (
        f"needs a Slurm cluster with an idle node in the partition cpu; sinfo says {result.stdout or result.stderr!r}"
    )
