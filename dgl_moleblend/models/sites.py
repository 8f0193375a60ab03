"""SitePredictor: encoder and a head on states of atoms, or of pairs that are bonds; what a site's kind tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import EncoderConfig, check
from dgl_moleblend.data.sites import LEVELS, SiteValues
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.folder import SITES
from dgl_moleblend.models.heads import PAIR_SIZE, PairProjection, PropertyHead
from dgl_moleblend.nn.dropout import Dropout
from dgl_moleblend.nn.encoder import EncoderOutput, MoleBlendEncoder, init_weights
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
        check(not isinstance(relations, str) and len(relations) > 0 and set(relations) <= set(RELATIONS), "relations",
              relations, f"some of {RELATIONS}")  # fmt: skip
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


@dataclass(frozen=True)
class SitePrior:
    """What is known of a value from the kind of its site alone: the mean of the kind, over training molecules.

    Networks learn how far a value is from it, in units of the deviation of these distances.

    Parameters
    ----------
    means : mapping of str to tuple of t floats
        By kind ("C", "C-O single"); "" is all of them, for kinds that training molecules lack.
    scale : tuple of t floats
        Deviation of the values from the means of their kinds; 1 where they never differ.

    Examples
    --------
    >>> kinds, values = np.array(["C", "C", "O"]), np.array([[1.0], [3.0], [9.0]])
    >>> prior = SitePrior.fit(SiteValues("atom", ("q",), np.array([3]), values, kinds))
    >>> prior.means["C"], round(prior.scale[0], 2), prior.of(np.array(["O", "C", "N"])).ravel().round(2).tolist()
    ((2.0,), 0.82, [9.0, 2.0, 4.33])
    """

    means: Mapping[str, tuple[float, ...]]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, values: SiteValues, *, by_kind: bool = True) -> Self:
        """Measure means and deviations of training molecules; each value has one site at least.

        Parameters
        ----------
        values : SiteValues
        by_kind : bool
            False takes one mean for all.
        """
        overall = np.nanmean(values.values, 0)
        means = {"": tuple(map(float, overall))}
        for kind in np.unique(values.kinds).tolist() if by_kind else ():
            here = values.values[values.kinds == kind]
            known = ~np.isnan(here)
            count = known.sum(0)
            total = np.where(known, here, 0.0).sum(0)
            mean = np.where(count > 0, total / np.maximum(count, 1), overall)
            if count.any():
                means[kind] = tuple(map(float, mean))
        rest = values.values - cls(means, ()).of(values.kinds)
        scale = np.sqrt(np.nanmean(rest**2, 0))
        varies = scale > 1e-12 * np.maximum(1.0, np.abs(overall))
        return cls(means, tuple(map(float, np.where(varies, scale, 1.0))))

    @classmethod
    def from_stored(cls, values: object, num_tasks: int, where: str) -> Self:
        """Read what a model's folder holds.

        Raises
        ------
        CheckpointError
            If it is damaged.
        """
        try:
            means = {str(kind): tuple(map(float, mean)) for kind, mean in values["means"].items()}  # type: ignore[index]
            scale = tuple(map(float, values["scale"]))  # type: ignore[index]
        except (TypeError, KeyError, ValueError, AttributeError):
            means, scale = {}, ()
        whole = all(len(row) == num_tasks and np.isfinite(row).all() for row in (*means.values(), scale))
        if "" not in means or not whole or not all(one > 0 for one in scale):
            raise CheckpointError("the means of the kinds of atoms are damaged", where=where,
                                  fix="restore the file, or train the model again")  # fmt: skip
        return cls(means, scale)

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {"means": {kind: list(mean) for kind, mean in self.means.items()}, "scale": list(self.scale)}

    def of(self, kinds: np.ndarray) -> Float[np.ndarray, "s t"]:
        """Return the mean of each site's kind."""
        names, inverse = np.unique(kinds, return_inverse=True)
        table = np.array([self.means.get(kind, self.means[""]) for kind in names.tolist()], np.float64)
        return table.reshape(len(names), -1)[inverse] if len(names) else np.empty((0, len(self.means[""])))
