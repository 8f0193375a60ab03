"""MoleBlendPredictor: encoder, read-out and property head, for fine-tuning and prediction."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Bool, Float
from torch import Tensor, nn
from typing_extensions import Self

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import EncoderConfig, check
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.models.given import given
from dgl_moleblend.models.heads import PropertyHead
from dgl_moleblend.models.spread import OUTPUTS
from dgl_moleblend.nn.encoder import MoleBlendEncoder, check_relations, init_weights
from dgl_moleblend.nn.readout import READOUTS, readout
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.schema import RELATIONS, DGLGraph

PRETRAINED_READOUT = "mean"
"""Of a fresh head on a pretrained encoder, whose objectives scored the states of atoms and pairs, never the token's."""


def readout_of(saved: model_folder.Checkpoint) -> str:
    """Return what sums up a molecule for a saved model.

    A predictor's own read-out; that which the folder names; "token" where pretraining scored the token; else
    `PRETRAINED_READOUT`.
    """
    usual = "token" if "molecule" in saved.config else PRETRAINED_READOUT
    named = saved.extra.get("readout", usual)
    return str(saved.config.get("predictor", {"readout": named})["readout"])


class MoleBlendPredictor(nn.Module):
    """Molecules -> properties (METHOD.md section 8): the bare network.

    It speaks in logits, or of a regression in the scale that its head was trained on: labels less their mean, over
    their deviation. ``dgl_moleblend.load(folder).predict(..)`` gives probabilities, and values in the labels' unit.

    Parameters
    ----------
    n_tasks : int
        Number of properties t.
    encoder : MoleBlendEncoder
        Fresh or pretrained.
    readout : {"token", "mean", "sum"}
        The graph token's state, or the mean or sum over atoms; the head is applied to each first, as released.
    relations : sequence of str
        Which of "spd", "bond_path" and "distance" enter; ("spd", "bond_path") is a 2D model.
    dropout : float
        Rate in the property head.
    spread : {"gaussian", "quantile"}, optional
        What the head says beside each prediction, of how far off it may be; see `dgl_moleblend.models.spread`.
    molecules : int
        How many molecules a row has: a batch then holds the first of every row, the second of every row, and so on;
        each is read by the one encoder, summed up by the read-out, and the head takes their states side by side.

    Examples
    --------
    >>> import dgl, dgl_moleblend as mb
    >>> encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    >>> predictor = mb.MoleBlendPredictor(n_tasks=12, encoder=encoder).eval()
    >>> featurizer = mb.MoleculeFeaturizer()
    >>> predictor(dgl.batch([featurizer("CCO"), featurizer("c1ccccc1")])).shape
    torch.Size([2, 12])
    """

    def __init__(
        self,
        n_tasks: int,
        encoder: MoleBlendEncoder,
        *,
        readout: str = "token",
        relations: Sequence[str] = RELATIONS,
        dropout: float = 0.0,
        spread: str | None = None,
        molecules: int = 1,
    ) -> None:
        super().__init__()
        check(molecules >= 1, "molecules", molecules, "at least 1")
        check(spread is None or spread in OUTPUTS, "spread", spread, f"None or one of {', '.join(OUTPUTS)}")
        check(n_tasks >= 1, "n_tasks", n_tasks, "at least 1")
        check(readout in READOUTS, "readout", readout, f"one of {READOUTS}")
        check_relations(relations)
        self.n_tasks = n_tasks
        self.readout = readout
        self.relations = tuple(relations)
        self.encoder = encoder
        self.spread = spread
        self.molecules = molecules
        self.head = PropertyHead(molecules * encoder.config.feat_size, n_tasks * OUTPUTS.get(spread or "", 1), dropout)
        self.head.apply(init_weights)

    @classmethod
    def from_pretrained(cls, folder: str | Path, n_tasks: int | None = None, **settings: object) -> Self:
        """Load a saved predictor, or put a fresh head for `n_tasks` on a saved encoder or pretraining model.

        The scaling of labels that the folder knows is no part of the network: `dgl_moleblend.load` applies it.

        Parameters
        ----------
        folder : path
            Or a name of weights that ship (`mb.pretrained()`). A predictor's folder is loaded as it is; `n_tasks`, if
            given, must be its number of properties. From any other model's folder the encoder is taken.
        n_tasks : int, optional
        **settings
            readout, relations, dropout of a fresh head; unless given, its read-out is `readout_of` the folder.

        Raises
        ------
        CheckpointError
            If the folder is missing or damaged or does not fit, or `n_tasks` is needed or differs.
        """
        saved = model_folder.read(folder)
        if saved.kind != "predictor":
            if n_tasks is None:
                raise CheckpointError(
                    f"the folder holds no predictor but a model of kind {saved.kind!r}",
                    where=str(folder),
                    fix="pass n_tasks= to put a fresh property head on its encoder",
                )
            settings = {"readout": readout_of(saved), **settings}
            return cls(n_tasks, MoleBlendEncoder.from_pretrained(folder), **settings)  # type: ignore[arg-type]
        stored = saved.config["predictor"]
        if n_tasks not in (None, stored["n_tasks"]) or settings:
            model_folder.check_same({**stored, "n_tasks": n_tasks or stored["n_tasks"], **settings}, stored,
                                  where=str(folder))  # fmt: skip
        encoder = MoleBlendEncoder.from_config(EncoderConfig.from_dict(saved.config["encoder"]))
        predictor = cls(encoder=encoder, **stored)
        model_folder.load_weights(predictor, saved)
        return predictor

    def save_pretrained(self, folder: str | Path, extra: dict[str, object] | None = None) -> Path:
        """Write config.json and model.safetensors; `extra` is kept beside the settings (task names, scaling, ..)."""
        settings = {
            "n_tasks": self.n_tasks,
            "readout": self.readout,
            "relations": list(self.relations),
            "dropout": self.head.dropout.p,
            **({} if self.spread is None else {"spread": self.spread}),
            **({} if self.molecules == 1 else {"molecules": self.molecules}),
        }
        config = {"encoder": self.encoder.config.to_dict(), "predictor": settings}
        return model_folder.save(folder, self, config, "predictor", extra)

    def forward(
        self,
        graph: RelationBatch | DGLGraph,
        feat: Tensor | None = None,
        edge_feats: Tensor | None = None,
        *,
        eweight: Tensor | None = None,
        node_feats: Tensor | None = None,
    ) -> Float[Tensor, "b t"]:
        """Predict.

        Called by DGL's and dgllife's conventions: ``model(graph)``, ``model(graph, feat, eweight=eweight)`` as
        GNNExplainer does, ``model(bg, node_feats, edge_feats)`` as dgllife's scripts do. What is given goes before what
        the graph holds; the graph is left as it was.

        Parameters
        ----------
        graph : RelationBatch or DGLGraph
            Graphs of all pairs, or dgllife's graphs of bonds with what `MoleBlendAtomFeaturizer` and
            `MoleBlendBondFeaturizer` make.
        feat : Tensor, shape (nodes, 9) and integer, or (nodes, d) and floating, optional
            Ids of the atom features; or what stands for their embedding, ``encoder.atom_embedding(ids)``, as explainers
            need it, which multiply features by masks.
        edge_feats : Tensor, shape (edges, 5) or (edges, 1), integer, optional
            The bond paths of a graph of pairs, or the bond ids of a graph of bonds.
        eweight : Tensor, shape (edges,) or (edges, 1), optional
            What each edge counts for in attention; see `MoleBlendEncoder.forward`.
        node_feats : Tensor, optional
            Another name of `feat`.

        Returns
        -------
        Tensor, shape (b, t)
            Logits for classification; for regression, values in the scale that the head was trained on.

        Raises
        ------
        SchemaError
            If a field is missing from the graph and is not among the features given, or these do not fit.
        """
        data, atom_feat = given(graph, feat if feat is not None else node_feats, edge_feats)
        encoded = self.encoder(data, relations=self.relations, atom_feat=atom_feat, pair_weight=eweight)
        found = self.read_out(encoded.atoms, encoded.token, encoded.view.atom_mask)
        return found if self.spread is None else found[..., 0]

    def outputs(self, batch: RelationBatch) -> Float[Tensor, "b t"] | Float[Tensor, "b t k"]:
        """Return what `read_out` does: with a `spread` all that the head says, its prediction first."""
        encoded = self.encoder(batch, relations=self.relations)
        return self.read_out(encoded.atoms, encoded.token, encoded.view.atom_mask)

    def read_out(
        self, atoms: Float[Tensor, "b n d"], token: Float[Tensor, "b d"], atom_mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "r t"] | Float[Tensor, "r t k"]:
        """Predict from the encoder's states.

        Parameters
        ----------
        atoms : Tensor, shape (b, n, d)
            Not looked at by the read-out "token".
        token : Tensor, shape (b, d)
        atom_mask : Tensor, shape (b, n), bool
            True: a real atom.

        Returns
        -------
        Tensor, shape (r, t), or (r, t, k) with a `spread`
            A row for each of the r = b / molecules rows; see `forward` and `outputs`.
        """
        if self.molecules > 1:  # the head reads what sums up each
            states = readout(atoms, token, atom_mask, self.readout)
            found = self.head(states.unflatten(0, (self.molecules, -1)).transpose(0, 1).flatten(1))
        elif self.readout == "token":
            found = self.head(token)
        else:
            found = readout(self.head(atoms), self.head(token), atom_mask, self.readout)
        return found if self.spread is None else found.unflatten(-1, (self.n_tasks, OUTPUTS[self.spread]))
