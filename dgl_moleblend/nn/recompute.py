"""Wide tensors that are cheaper to compute twice than to keep."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def recomputed(function: Callable[..., T], *inputs: Any, random: bool = False) -> T:
    """Call a function whose inner values are not kept for the gradient but computed once more there.

    Parameters
    ----------
    function : callable
    *inputs
        Its arguments.
    random : bool
        Whether it draws random numbers, which are then the same again.
    """
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random)
