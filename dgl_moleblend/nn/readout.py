"""Atoms -> molecule: the read-out, values of the token or of all atoms as one row a molecule."""

from jaxtyping import Bool, Float
from torch import Tensor

from dgl_moleblend.errors import ConfigError

READOUTS = ("token", "mean", "sum")


def readout(
    atoms: Float[Tensor, "b n t"], token: Float[Tensor, "b t"], atom_mask: Bool[Tensor, "b n"], kind: str
) -> Float[Tensor, "b t"]:
    """Return one row per molecule.

    Parameters
    ----------
    atoms : Tensor, shape (b, n, t)
    token : Tensor, shape (b, t)
    atom_mask : Tensor, shape (b, n), bool
        True: a real atom.
    kind : {"token", "mean", "sum"}
        The token's values; or the atoms', by the number of real atoms (the release divides by the padded length).

    Returns
    -------
    Tensor, shape (b, t)
    """
    if kind == "token":
        return token
    total = (atoms * atom_mask.unsqueeze(-1)).sum(1)
    if kind == "sum":
        return total
    if kind == "mean":
        return total / atom_mask.sum(1, keepdim=True)
    raise ConfigError(f"readout={kind!r} is not allowed", fix=f"one of {READOUTS}")
