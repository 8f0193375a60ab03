"""Wide tensors over pairs that are cheaper to compute twice than to keep."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def recomputed(function: Callable[..., T], *inputs: Any) -> T:
    """Call a function whose inner values are not kept for the gradient but computed once more there.

    Parameters
    ----------
    function : callable
        Draws no random numbers.
    *inputs
        Its arguments.
    """
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
