"""Which process of a parallel run this is (the first writes files and messages), its CPUs, and how others start."""

import multiprocessing
import os
from multiprocessing.context import BaseContext

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


def worker_context(*modules: str) -> BaseContext:
    """Return how worker processes are started: forked from a clean process where that is possible.

    Threads of this one cannot harm them then, and modules load once for all. Those of the first call count.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules])
    return context


def prepare_workers(*modules: str) -> None:
    """Start what workers are forked from, and let it load modules while this process goes on."""
    if worker_context(*modules).get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()
