"""Which of the processes of a parallel run this one is: the first writes files and messages, the others compute."""

import os

_NAMES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Where torchrun, Lightning and Slurm say it."""


def rank() -> int:
    """Return the number of this process; 0 for the first, and where there is but one."""
    return next((int(value) for name in _NAMES if (value := os.environ.get(name))), 0)


def is_first_process() -> bool:
    """Whether this process writes the files of a run; of those of a parallel run, one does."""
    return rank() == 0
