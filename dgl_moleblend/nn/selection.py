"""The pairs for which a relation is computed: all of them and then masked, or picked out."""

from jaxtyping import Bool, Float
from torch import Tensor


class Masked:
    """The pairs where a mask is True, all of them computed and the others then set to 0: no waiting for the device."""

    def __init__(self, mask: Bool[Tensor, "*pairs"]) -> None:
        self.mask = mask

    def take(self, pairs: Tensor) -> Tensor:
        """Values to compute with: all."""
        return pairs

    def put(self, values: Float[Tensor, "*pairs k"]) -> Float[Tensor, "*pairs k"]:
        """Values where the mask is True, else 0."""
        return values.masked_fill(~self.mask.unsqueeze(-1), 0.0)


class Selected:
    """The pairs where a mask is True, picked out: nothing is computed for the others."""

    def __init__(self, mask: Bool[Tensor, " p"]) -> None:
        self.size = len(mask)
        self.index = mask.nonzero().squeeze(1)

    def take(self, pairs: Tensor) -> Tensor:
        """Values of the selected pairs, (p, ...) -> (q, ...)."""
        return pairs.index_select(0, self.index)

    def put(self, values: Float[Tensor, "q k"]) -> Float[Tensor, "p k"]:
        """Values at their pairs, 0 elsewhere."""
        return values.new_zeros(self.size, values.shape[1]).index_copy(0, self.index, values)
