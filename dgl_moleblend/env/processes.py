"""Which process of a parallel run this one is (the first writes files and messages), and how many CPUs it has."""

import os

_NAMES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Where torchrun, Lightning and Slurm say it."""


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rank() -> int:
    """Return the number of this process; 0 for the first, and where there is but one."""
    return next((int(value) for name in _NAMES if (value := os.environ.get(name))), 0)


def number_of_processes() -> int:
    """Return how many processes torchrun or Slurm has started for this run; 1 where neither has."""
    return next((int(value) for name in ("WORLD_SIZE", "SLURM_NTASKS") if (value := os.environ.get(name))), 1)


def name_of_run() -> str:
    """Return a name that the processes of a run on one file system share, and no other run of the time has."""
    env = os.environ
    alike = env.get("LOCAL_WORLD_SIZE") == env.get("WORLD_SIZE")  # on one machine they have one parent
    own = os.getppid() if "RANK" in env and alike else env.get("SLURM_JOB_ID", "") if "RANK" not in env else ""
    run = env.get("TORCHELASTIC_RUN_ID", "none")
    return f"{env.get('MASTER_PORT', 0)}-{own}-{run}"


def is_first_process() -> bool:
    """Whether this process writes the files of a run; of those of a parallel run, one does."""
    return rank() == 0
