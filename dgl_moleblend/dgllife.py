"""dgllife's conventions: featurizers for its graph constructors, and what its scripts exchange for another model.

A script of dgllife's examples needs two lines to be changed, which ``examples/README.md`` shows as diffs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from dgl_moleblend.chem.conformers import given_positions
from dgl_moleblend.chem.vocabulary import mol_to_arrays
from dgl_moleblend.config import EncoderConfig, FeaturizerConfig, check
from dgl_moleblend.schema import ATOM_SIZES, NO_BOND, PATH_HOPS

if TYPE_CHECKING:
    from dgl_moleblend.models.predictor import MoleBlendPredictor

MODEL = "MoleBLEND"
"""Name of the model in dgllife's scripts: ``--model MoleBLEND``."""
HYPERPARAMETERS: dict[str, Any] = {
    "lr": 3e-4,
    "weight_decay": 1e-5,
    "patience": 30,
    "batch_size": 32,
    "num_layers": 6,
    "feat_size": 128,
    "ffn_size": 128,
    "num_heads": 8,
    "num_kernels": 32,
    "dropout": 0.1,
    "readout": "mean",
}
"""What a script reads for this model where the user gives no ``model_configures/MoleBLEND.json``."""


class MoleBlendAtomFeaturizer:
    """Ids of atom features, by dgllife's interface: for `SMILESToBigraph`, `mol_to_complete_graph` and the like.

    Parameters
    ----------
    atom_data_field : str
        Name of the ids in ``ndata``; dgllife's scripts read ``h``.
    positions : {"none", "given"}
        "given": a Mol's own conformer is added as ``positions``, angstrom.
    chirality : {"cip", "tag"}
        As in `FeaturizerConfig`: that of the model, where it is a pretrained one.

    Examples
    --------
    >>> from dgllife.utils import smiles_to_bigraph
    >>> featurizer = MoleBlendAtomFeaturizer()
    >>> smiles_to_bigraph("CCO", node_featurizer=featurizer).ndata["h"].shape, featurizer.feat_size()
    (torch.Size([3, 9]), 9)
    """

    def __init__(self, atom_data_field: str = "h", positions: str = "none", chirality: str = "cip") -> None:
        check(positions in ("none", "given"), "positions", positions, "'none' or 'given'")
        check(chirality in FeaturizerConfig.CHIRALITY, "chirality", chirality, "'cip' or 'tag'")
        self.atom_data_field = atom_data_field
        self.positions = positions
        self.chirality = chirality

    def feat_size(self, feat_name: str | None = None) -> int:
        """Return the number of ids of an atom."""
        _check_name(feat_name, self.atom_data_field)
        return len(ATOM_SIZES)

    def __call__(self, mol: Chem.Mol) -> dict[str, Tensor]:
        """Featurize the atoms of a sanitised molecule, in their order.

        Raises
        ------
        MoleculeError
            If positions are asked for and the molecule has none.
        """
        fields = {self.atom_data_field: torch.from_numpy(mol_to_arrays(mol, chirality=self.chirality).atom)}
        if self.positions == "given":
            fields["positions"] = torch.from_numpy(given_positions(mol)[0].copy())
        return fields


class MoleBlendBondFeaturizer:
    """Ids of bonds, by dgllife's interface: for `SMILESToBigraph` and other graphs of bonds.

    Parameters
    ----------
    bond_data_field : str
        Name of the ids in ``edata``; dgllife's scripts read ``e``.
    self_loop : bool
        Whether the graph is made with ``add_self_loop=True``, which dgllife's scripts do.

    Examples
    --------
    >>> from dgllife.utils import smiles_to_bigraph
    >>> featurizer = MoleBlendBondFeaturizer(self_loop=True)
    >>> graph = smiles_to_bigraph("C=O", add_self_loop=True, edge_featurizer=featurizer)
    >>> graph.edata["e"].flatten().tolist(), featurizer.feat_size()
    ([12, 12, -1, -1], 1)
    """

    def __init__(self, bond_data_field: str = "e", self_loop: bool = False) -> None:
        self.bond_data_field = bond_data_field
        self.self_loop = self_loop

    def feat_size(self, feat_name: str | None = None) -> int:
        """Return the number of ids of a bond."""
        _check_name(feat_name, self.bond_data_field)
        return 1

    def __call__(self, mol: Chem.Mol) -> dict[str, Tensor]:
        """Featurize the bonds of a sanitised molecule: each twice, for both directions, then -1 for self-loops."""
        ids = np.repeat(mol_to_arrays(mol).bond_id.astype(np.int8), 2)
        if self.self_loop:
            ids = np.concatenate((ids, np.full(mol.GetNumAtoms(), NO_BOND, np.int8)))
        return {self.bond_data_field: torch.from_numpy(ids)[:, None]}


class MoleBlendPairFeaturizer:
    """Relations of all pairs, by dgllife's interface: for `mol_to_complete_graph`.

    Parameters
    ----------
    bond_data_field : str
        Name of the bond paths in ``edata``; the others are ``spd`` and ``distance``.
    self_loop : bool
        Whether the graph is made with ``add_self_loop=True``: the method pairs atoms with themselves too.
    positions : {"none", "given"}
        "given": distances are those of the Mol's own conformer.

    Examples
    --------
    >>> from dgllife.utils import smiles_to_complete_graph
    >>> graph = smiles_to_complete_graph("C=O", True, MoleBlendAtomFeaturizer(), MoleBlendPairFeaturizer())
    >>> sorted(graph.edata)
    ['distance', 'e', 'spd']
    """

    def __init__(self, bond_data_field: str = "e", self_loop: bool = True, positions: str = "none") -> None:
        check(positions in ("none", "given"), "positions", positions, "'none' or 'given'")
        self.bond_data_field = bond_data_field
        self.self_loop = self_loop
        self.positions = positions

    def feat_size(self, feat_name: str | None = None) -> int:
        """Return the number of bond ids of a path."""
        _check_name(feat_name, self.bond_data_field)
        return PATH_HOPS

    def __call__(self, mol: Chem.Mol) -> dict[str, Tensor]:
        """Make the relations of a sanitised molecule's pairs, in the order of dgllife's edges: senders first.

        Raises
        ------
        MoleculeError
            If positions are asked for and the molecule has none.
        """
        from dgl_moleblend.pairs.batch import MoleculeBatch

        arrays = mol_to_arrays(mol, given_positions(mol) if self.positions == "given" else None)
        batch = MoleculeBatch.from_arrays([arrays]).relations()
        distance = batch.distance.masked_fill(~batch.has_conformer[:, None, None], torch.nan)
        n = arrays.num_atoms
        kept = torch.ones(n, n, dtype=torch.bool) if self.self_loop else ~torch.eye(n, dtype=torch.bool)
        fields = {self.bond_data_field: batch.bond_path, "spd": batch.spd, "distance": distance}
        return {name: value[0].transpose(0, 1)[kept] for name, value in fields.items()}


def init_featurizer(args: dict[str, Any]) -> dict[str, Any]:
    """Take the place of a dgllife script's own `init_featurizer`: set ``node_featurizer`` and ``edge_featurizer``."""
    _check_model(args["model"])
    args["node_featurizer"] = MoleBlendAtomFeaturizer()
    args["edge_featurizer"] = MoleBlendBondFeaturizer(self_loop=True)
    return args


def get_configure(model: str, *_: str, folder: str = "model_configures") -> dict[str, Any]:
    """Take the place of a script's own `get_configure`: its JSON of hyperparameters, or `HYPERPARAMETERS`.

    Parameters
    ----------
    model : str
    *_ : str
        The moleculenet scripts name featurizer and data set as well.
    folder : str
        Where ``MoleBLEND.json`` is looked for; what it leaves out is taken from `HYPERPARAMETERS`.
    """
    _check_model(model)
    file = os.path.join(folder, f"{model}.json")
    if not os.path.exists(file):
        return dict(HYPERPARAMETERS)
    with open(file) as stream:
        return HYPERPARAMETERS | json.load(stream)


def init_hyper_space(model: str) -> dict[str, Any]:
    """Take the place of a script's own `init_hyper_space`: what hyperopt searches."""
    from hyperopt import hp

    _check_model(model)
    return {
        "lr": hp.loguniform("lr", np.log(3e-5), np.log(1e-3)),
        "weight_decay": hp.uniform("weight_decay", 0, 3e-3),
        "patience": hp.choice("patience", [30]),
        "batch_size": hp.choice("batch_size", [32, 64, 128]),
        "num_layers": hp.choice("num_layers", [3, 6, 9]),
        "feat_size": hp.choice("feat_size", [64, 128, 256]),
        "num_heads": hp.choice("num_heads", [8]),
        "num_kernels": hp.choice("num_kernels", [32]),
        "dropout": hp.uniform("dropout", 0, 0.4),
        "readout": hp.choice("readout", ["mean", "token"]),
    }


def load_model(exp_configure: Mapping[str, Any]) -> MoleBlendPredictor:
    """Take the place of a script's own `load_model`: build a predictor from hyperparameters.

    Parameters
    ----------
    exp_configure : mapping
        ``n_tasks``; settings of `EncoderConfig`, those that are not given being ``EncoderConfig.small()``'s and
        ``ffn_size`` being ``feat_size``; ``readout``; ``encoder``, the folder of a saved model whose encoder is taken
        instead. What else a script keeps there (learning rate, paths) is not looked at.

    Examples
    --------
    >>> model = load_model(HYPERPARAMETERS | {"model": "MoleBLEND", "n_tasks": 2, "num_layers": 1})
    >>> len(model.encoder.layers), model.n_tasks, model.readout
    (1, 2, 'mean')
    """
    from dgl_moleblend.models.predictor import MoleBlendPredictor
    from dgl_moleblend.nn.encoder import MoleBlendEncoder

    _check_model(exp_configure.get("model", MODEL))
    head = {"readout": exp_configure.get("readout", HYPERPARAMETERS["readout"])}
    if exp_configure.get("encoder"):
        return MoleBlendPredictor.from_pretrained(exp_configure["encoder"], n_tasks=exp_configure["n_tasks"], **head)
    settings = EncoderConfig.small().to_dict()
    settings |= {name: exp_configure[name] for name in settings if name in exp_configure}
    settings["ffn_size"] = exp_configure.get("ffn_size", settings["feat_size"])
    return MoleBlendPredictor(exp_configure["n_tasks"], MoleBlendEncoder(**settings), **head)


def _check_name(feat_name: str | None, own: str) -> None:
    check(feat_name in (None, own), "feat_name", feat_name, f"{own!r} or None")


def _check_model(model: str) -> None:
    check(
        model == MODEL,
        "model",
        model,
        f"{MODEL!r}; another model's functions are those of the script's own `utils`, without the line that imports"
        " dgl_moleblend.dgllife",
    )
