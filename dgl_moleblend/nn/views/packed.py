"""PackedView: the real atoms and pairs of a padded batch, one row each; padded again for attention only."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dgl_moleblend.nn.dense_attention import token_logits
from dgl_moleblend.nn.packed_attention import Layout, attend_rows
from dgl_moleblend.nn.views.flat import FlatView


class PackedView(FlatView):
    """The real atoms of a padded batch and their pairs, one row each; laid out padded for attention only.

    Parameters
    ----------
    atom_mask : Tensor, shape (b, n), bool
        True: a real atom.
    """

    def __init__(self, atom_mask: Bool[Tensor, "b n"]) -> None:
        b, n = atom_mask.shape
        rows = atom_mask.flatten().nonzero().squeeze(1)
        pair_rows = (atom_mask[:, :, None] & atom_mask[:, None, :]).flatten().nonzero().squeeze(1)
        node = torch.cumsum(atom_mask.flatten(), 0) - 1
        receiver_row = torch.div(pair_rows, n, rounding_mode="floor")
        sender_row = torch.div(receiver_row, n, rounding_mode="floor") * n + pair_rows % n
        molecule = torch.div(rows, n, rounding_mode="floor")
        super().__init__((b, n), molecule, rows % n, node[sender_row], node[receiver_row])
        self.node_rows, self.pair_rows, self.atom_mask = rows, pair_rows, atom_mask

    def with_token(self, feat: Float[Tensor, "nodes d"], token: Tensor) -> tuple["PackedTokens", Float[Tensor, "t d"]]:
        """Add one token per molecule, before all atoms; they are rows of their own."""
        return PackedTokens(self), torch.cat((token.expand(self.num_molecules, -1).to(feat), feat))

    def split_token(self, feat: Float[Tensor, "t d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b d"]]:
        """Undo `with_token`: padded atom states, 0 in the padding, and token states."""
        return self.pad_nodes(feat[self.num_molecules :]), feat[: self.num_molecules]

    def logit_bias(self, bias: Float[Tensor, "p h"], token: Tensor) -> Float[Tensor, "b h m m"]:
        """Lay the bias out as attention wants it, heads first, the token in front; padded keys get -inf."""
        heads_last = token_logits(token.to(bias), self.atom_mask).permute(0, 2, 3, 1)
        molecule, i, j = self.molecule[self.receiver], self.place[self.receiver] + 1, self.place[self.sender] + 1
        return heads_last.index_put((molecule, i, j), bias).permute(0, 3, 1, 2).contiguous()


class PackedTokens:
    """The rows that layers see in a packed view: b tokens, then all real atoms.

    Parameters
    ----------
    atoms : PackedView
    """

    def __init__(self, atoms: PackedView) -> None:
        b, n = atoms.size
        tokens = torch.arange(b, device=atoms.molecule.device)
        self.molecule = torch.cat((tokens, atoms.molecule))
        self.shape = (b, n + 1)
        self.place = torch.cat((torch.zeros_like(tokens), atoms.place + 1))
        self.layout: Layout | None = None  # made by the first layer

    @property
    def num_molecules(self) -> int:
        """Number of molecules b."""
        return self.shape[0]

    def spread(self, molecules: Float[Tensor, " b"]) -> Float[Tensor, "t 1"]:
        """One value per molecule, to be broadcast against node features."""
        return molecules[self.molecule].unsqueeze(-1)

    def attend(
        self, query_key_value: Float[Tensor, "t 3 h c"], bias: Float[Tensor, "b h m m"], rate: float
    ) -> Float[Tensor, "t h c"]:
        """Attend as `PaddedView.attend` does, from rows to rows."""
        h = query_key_value.shape[2]
        if self.layout is None or self.layout.shape[1] != h:
            self.layout = Layout.of(self.molecule, self.place, self.shape, h)
        return attend_rows(query_key_value, bias, rate, self.layout)
