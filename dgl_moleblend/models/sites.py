"""SitePredictor: encoder and a head on states of atoms, or of pairs that are bonds."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import EncoderConfig, check
from dgl_moleblend.data.sites import LEVELS
from dgl_moleblend.folder import SITES
from dgl_moleblend.models.heads import PAIR_SIZE, PairProjection, PropertyHead
from dgl_moleblend.nn.dropout import Dropout
from dgl_moleblend.nn.encoder import EncoderOutput, MoleBlendEncoder, check_relations, init_weights
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.schema import RELATIONS, DGLGraph


class BondHead(nn.Module):
    """Pair states -> values of bonds, the same both ways (METHOD.md section 8).

    The state of a pair is a linear form of its features, the outer product of both atoms' factors, and of the bias that
    its relations gave it; the mean of both directions goes through gelu and a linear layer.

    Parameters
    ----------
    feat_size, num_heads : int
    n_tasks : int
        Number of values t.
    dropout : float
        Rate before the last layer.
    """

    def __init__(self, feat_size: int, num_heads: int, n_tasks: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.pairs = PairProjection(feat_size)
        self.hidden = nn.Linear(PAIR_SIZE**2, feat_size)
        self.bias = nn.Linear(num_heads, feat_size, bias=False)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(feat_size, n_tasks)

    def forward(
        self, atoms: Float[Tensor, "b n d"], bias: Float[Tensor, "b n n h"], bonds: tuple[Tensor, Tensor, Tensor]
    ) -> Float[Tensor, "m t"]:
        """Return t values a bond; `bonds` are molecule, first and second atom of each, three tensors (m,)."""
        states = self.pairs(atoms)
        molecule, first, second = bonds

        def state(i: Tensor, j: Tensor) -> Tensor:
            outer = states.row[molecule, i].unsqueeze(-1) * states.column[molecule, j].unsqueeze(-2)  # (m, 32, 32)
            return self.hidden(outer.flatten(1)) + self.bias(bias[molecule, i, j])

        both = 0.5 * (state(first, second) + state(second, first))
        return self.out(self.dropout(F.gelu(both)))


class SitePredictor(nn.Module):
    """Molecules -> values of each atom, or of each bond: the bare network.

    It tells how far a value is from the mean of its kind of site, in the scale that it was trained on;
    ``dgl_moleblend.load(folder).predict(..)`` gives values in their unit.

    Parameters
    ----------
    n_tasks : int
        Number of values t of a site.
    encoder : MoleBlendEncoder
    level : {"atom", "bond"}
    relations : sequence of str
        Which of "spd", "bond_path" and "distance" enter.
    dropout : float
        Rate in the head.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    >>> batch = mb.RelationBatch.from_graphs([mb.MoleculeFeaturizer()(smiles) for smiles in ("CCO", "c1ccccc1")])
    >>> SitePredictor(2, encoder).eval()(batch).shape, SitePredictor(1, encoder, level="bond").eval()(batch).shape
    (torch.Size([9, 2]), torch.Size([8, 1]))
    """

    def __init__(
        self,
        n_tasks: int,
        encoder: MoleBlendEncoder,
        *,
        level: str = "atom",
        relations: Sequence[str] = RELATIONS,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check(n_tasks >= 1, "n_tasks", n_tasks, "at least 1")
        check(level in LEVELS, "level", level, "'atom' or 'bond'")
        check_relations(relations)
        self.n_tasks, self.level, self.relations = n_tasks, level, tuple(relations)
        self.encoder = encoder
        size = encoder.config.feat_size
        self.head: PropertyHead | BondHead = (
            PropertyHead(size, n_tasks, dropout)
            if level == "atom"
            else BondHead(size, encoder.config.num_heads, n_tasks, dropout)
        )
        self.head.apply(init_weights)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load a saved model.

        Raises
        ------
        CheckpointError
            If the folder is missing or damaged, or holds another kind of model.
        """
        saved = model_folder.read(folder, kinds=(SITES,))
        encoder = MoleBlendEncoder.from_config(EncoderConfig.from_dict(saved.config["encoder"]))
        predictor = cls(encoder=encoder, **saved.config[SITES])
        model_folder.load_weights(predictor, saved)
        return predictor

    def save_pretrained(self, folder: str | Path, extra: dict[str, object] | None = None) -> Path:
        """Write config.json and model.safetensors; `extra` is kept beside the settings (names, means, ..)."""
        settings = {"n_tasks": self.n_tasks, "level": self.level, "relations": list(self.relations),
                    "dropout": self.head.dropout.p}  # fmt: skip
        return model_folder.save(
            folder, self, {"encoder": self.encoder.config.to_dict(), SITES: settings}, SITES, extra
        )

    def forward(self, data: RelationBatch | DGLGraph) -> Float[Tensor, "sites t"]:
        """Predict.

        Parameters
        ----------
        data : RelationBatch or DGLGraph
            Of bonds, a graph has every pair.

        Returns
        -------
        Tensor, shape (s, t)
            Of the sites of the first molecule, then those of the second and so on: atoms in their order, bonds
            ascending by their atoms, the lower of both first.

        Raises
        ------
        SchemaError
            If a field is missing, or pairs are where they are needed.
        """
        if self.level == "bond" and not isinstance(data, RelationBatch):
            data = RelationBatch.from_graph(data)
        encoded: EncoderOutput = self.encoder(data, relations=self.relations)
        if isinstance(self.head, PropertyHead):
            return self.head(encoded.nodes)
        assert isinstance(data, RelationBatch)
        molecule, first, second = torch.triu((data.spd == 1) & data.pair_mask).nonzero(as_tuple=True)
        return self.head(encoded.atoms, encoded.bias, (molecule, first, second))
