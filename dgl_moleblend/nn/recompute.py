"""Wide tensors that are cheaper to compute twice than to keep."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
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
    if not torch.is_grad_enabled():  # nothing to keep, and checkpoint() itself takes milliseconds of a lone molecule
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random)
