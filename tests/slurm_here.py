"""Whether a Slurm cluster can be used here, and the place for tests that use it."""

import shutil
import subprocess

SLURM_PROFILE: dict[str, object] = {"executor": "slurm", "partition": "cpu", "time": "0:20:00", "memory_per_cpu": 1}


def slurm_skip_reason() -> str | None:
    """Why tests on Slurm must skip; None if a node is idle."""
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        return "needs a Slurm cluster: sbatch is not installed"
    asked = subprocess.run(["sinfo", "-h", "-o", "%P %t"], capture_output=True, text=True, timeout=60, check=False)
    states = [line.split() for line in asked.stdout.splitlines()]
    if any(name.rstrip("*") == SLURM_PROFILE["partition"] and state in ("idle", "mix") for name, state in states):
        return None
    return f"needs a Slurm cluster with an idle node in the partition cpu; sinfo says {asked.stdout or asked.stderr!r}"
