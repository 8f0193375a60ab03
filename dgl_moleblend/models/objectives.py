"""One masked loss per relation and their weighted sum; no parameters."""

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor
from torch.nn import functional as F

from dgl_moleblend.schema import NUM_BOND_IDS, SPD_CLASSES, bond_parts

IGNORED = -100


def spd_classes(spd: Integer[Tensor, "b n n"], pair_mask: Bool[Tensor, "b n n"]) -> Int[Tensor, "b n n"]:
    """Return the class of each pair, ``min(spd, 11) - 1``.

    Self pairs, pairs without a path and pairs outside the mask are -100, ignored.

    Examples
    --------
    >>> spd_classes(torch.tensor([[[0, 1], [30, -1]]]), torch.ones(1, 2, 2, dtype=torch.bool))
    tensor([[[-100,    0],
             [  10, -100]]])
    """
    return torch.where(pair_mask & (spd > 0), spd.long().clamp(max=SPD_CLASSES) - 1, IGNORED)


def bond_path_classes(
    bond_path: Integer[Tensor, "b n n hops"], pair_mask: Bool[Tensor, "b n n"]
) -> Int[Tensor, "b n n hops"]:
    """Return the class of each hop, ``6 * type + 2 * stereo + conjugated``.

    Bonds outside the first 4 types and 3 stereo words, missing hops and pairs outside the mask are -100, ignored.

    Examples
    --------
    >>> bond_path_classes(torch.tensor([[[[-1, 0, 13, 37, 48]]]]), torch.ones(1, 1, 1, dtype=torch.bool))
    tensor([[[[-100,    0,    7,   19, -100]]]])
    """
    kind, stereo, conjugated = bond_parts(torch.arange(NUM_BOND_IDS + 1, device=bond_path.device))
    classes = torch.where((kind < 4) & (stereo < 3), 6 * kind + 2 * stereo + conjugated, IGNORED)
    known = (bond_path >= 0) & (bond_path < NUM_BOND_IDS) & pair_mask.unsqueeze(-1)
    return classes[torch.where(known, bond_path.long(), NUM_BOND_IDS)]


def classification_loss(logits: Float[Tensor, "*pairs k"], classes: Int[Tensor, "*pairs"]) -> Float[Tensor, ""]:
    """Return the cross-entropy, mean over all that is not ignored; 0 where all is ignored.

    Parameters
    ----------
    logits : Tensor, shape (b, n, n, k) or (b, n, n, 5, k)
    classes : Tensor, shape of `logits` without its last axis
        -100 is ignored.
    """
    # pair_form leaves j fastest in memory: (b, i, .., k, j) is a view, and cross_entropy takes classes at axis 1
    by_class = logits.movedim(2, -1)
    by_class = by_class.flatten(0, -3)  # (b * i * .., k, j)
    target = classes.movedim(2, -1).flatten(0, -2)  # (b * i * .., j)
    total = F.cross_entropy(_at_least_single(by_class), target, reduction="sum")
    return total / (target != IGNORED).sum().clamp(min=1)


def direction_loss(
    prediction: Float[Tensor, "b n n 3"], displacement: Float[Tensor, "b n n 3"], mask: Bool[Tensor, "b n n"]
) -> Float[Tensor, ""]:
    """Return 1 - cosine, mean over the pairs of a molecule in the mask, then over molecules that have any.

    Parameters
    ----------
    prediction, displacement : Tensor, shape (b, n, n, 3)
        Predicted and clean r_j - r_i; only directions count.
    mask : Tensor, shape (b, n, n), bool
        Pairs to score.
    """
    prediction = _at_least_single(prediction)
    error = 1 - F.cosine_similarity(prediction, displacement.to(prediction), dim=-1)
    return _mean_by_molecule(error, mask)


def distance_loss(
    prediction: Float[Tensor, "b n n"], distance: Float[Tensor, "b n n"], mask: Bool[Tensor, "b n n"]
) -> Float[Tensor, ""]:
    """Return the smooth L1 error (quadratic below 1 angstrom), means as in `direction_loss`.

    Parameters
    ----------
    prediction, distance : Tensor, shape (b, n, n), angstrom
    mask : Tensor, shape (b, n, n), bool
        Pairs to score.
    """
    prediction = _at_least_single(prediction)
    return _mean_by_molecule(F.smooth_l1_loss(prediction, distance.to(prediction), reduction="none"), mask)


def denoising_loss(
    prediction: Float[Tensor, "b n 3"], noise: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Return 1 - cosine against the noise, mean over all atoms in the mask; 0 where there are none.

    Parameters
    ----------
    prediction, noise : Tensor, shape (b, n, 3)
    mask : Tensor, shape (b, n), bool
        Atoms whose 3D term was visible.
    """
    prediction = _at_least_single(prediction)
    error = 1 - F.cosine_similarity(prediction, noise.to(prediction), dim=-1)
    return torch.where(mask, error, 0.0).sum() / mask.sum().clamp(min=1)


def molecule_loss(
    output: Float[Tensor, "b t"], targets: Float[Tensor, "b t"], is_class: Bool[Tensor, " t"]
) -> Float[Tensor, ""]:
    """Return the mean error over the targets that are present, 0 where there are none.

    Squared error of a value, cross-entropy of a class.

    Parameters
    ----------
    output : Tensor, shape (b, t)
        Values, or logits of class 1.
    targets : Tensor, shape (b, t)
        Values of mean 0 and deviation 1, or 0 and 1; NaN = missing.
    is_class : Tensor, shape (t,), bool
    """
    present = ~targets.isnan()
    known, output = torch.where(present, targets, 0.0), output.float()
    values = F.mse_loss(output, known, reduction="none")
    classes = F.binary_cross_entropy_with_logits(output, known.clamp(0, 1), reduction="none")
    return (torch.where(is_class, classes, values) * present).sum() / present.sum().clamp(min=1)


def _at_least_single(values: Tensor) -> Tensor:
    """Return half-precision values as float32: bfloat16 knows 9.73 angstrom as 9.75."""
    return values.float() if values.dtype.itemsize < 4 else values


def _mean_by_molecule(error: Float[Tensor, "b n n"], mask: Bool[Tensor, "b n n"]) -> Float[Tensor, ""]:
    count = mask.sum((1, 2))
    mean = torch.where(mask, error, 0.0).sum((1, 2)) / count.clamp(min=1)
    return mean.sum() / (count > 0).sum().clamp(min=1)
