"""The molecules that every layer must meet, and batches of them: featurized, or written down by hand."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import networkx as nx
import numpy as np
import torch
from rdkit import Chem
from torch import Generator, Tensor

import dgl_moleblend as mb

Module = TypeVar("Module", bound=torch.nn.Module)
AWKWARD = {
    "one atom": "C",
    "two ions": "[Na+].[Cl-]",
    "tied paths": "C1CCC=CC1",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "chain of 23 bonds": "C" * 24,
    "dative bond": "CN(C)(C)->[Zn]Cl",
    "dummy atom": "*CC(*)=O",
    "bridged rings": "C1CC2CCC1(F)C2",
    "salt": "CC(=O)[O-].[NH3+]CCO",
    "double bond of known geometry": r"OC(=O)/C=C\C#N",
    "radical isotope": "[13CH3]C[O]",
}
"""No stereocentre among them: OGB's chirality tag (clockwise or not) depends on the order of the neighbours."""
AWKWARD_SMILES = list(AWKWARD.values())


class Inputs(NamedTuple):
    """Everything a model is given for a batch; blend and noise only where it blends."""

    batch: mb.RelationBatch
    blend: mb.Blend | None = None
    noise: Tensor | None = None


def molecule_with_positions(smiles: str, generator: Generator) -> Chem.Mol:
    """A molecule with made-up positions (normal, 2.5 angstrom): no chemistry in them, and never a failed embedding."""
    mol = Chem.MolFromSmiles(smiles)
    positions = 2.5 * torch.randn(mol.GetNumAtoms(), 3, generator=generator, dtype=torch.float64)
    return set_positions(mol, positions.numpy())


def set_positions(mol: Chem.Mol, positions: np.ndarray) -> Chem.Mol:
    """A copy of the molecule with one conformer."""
    mol = Chem.Mol(mol)
    mol.RemoveAllConformers()
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(True)
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    mol.AddConformer(conformer)
    return mol


def rewrite(mol: Chem.Mol, generator: Generator) -> tuple[Chem.Mol, list[int]]:
    """Renumber the atoms, write the SMILES in that order, read it again; atom k of the result was ``order[k]``."""
    shuffled = torch.randperm(mol.GetNumAtoms(), generator=generator).tolist()
    renumbered = Chem.RenumberAtoms(mol, shuffled)
    smiles = Chem.MolToSmiles(renumbered, canonical=False)
    written = list(renumbered.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    order = [shuffled[k] for k in written]
    fresh = Chem.MolFromSmiles(smiles)
    if mol.GetNumConformers():
        fresh = set_positions(fresh, mol.GetConformer().GetPositions()[order])
    return fresh, order


def featurized(molecules: Sequence[str | Chem.Mol], generator: Generator | None = None) -> mb.RelationBatch:
    """Batch molecules; with a generator, SMILES get made-up positions. A Mol keeps the conformer it has, if any."""
    if generator is not None:
        molecules = [molecule_with_positions(m, generator) if isinstance(m, str) else m for m in molecules]
    given, none = mb.MoleculeFeaturizer(positions="given"), mb.MoleculeFeaturizer(positions="none")
    graphs = [(given if isinstance(m, Chem.Mol) and m.GetNumConformers() else none)(m) for m in molecules]
    return mb.RelationBatch.from_graphs(graphs)


def double(batch: mb.RelationBatch) -> mb.RelationBatch:
    """The batch with float64 positions."""
    return dataclasses.replace(batch, positions=batch.positions.double())


def blended(batch: mb.RelationBatch, generator: Generator) -> Inputs:
    """The batch with a drawn blend and drawn noise of the dtype of its positions."""
    blend = mb.draw_blend(batch, generator=generator)
    noise = 0.2 * torch.randn(batch.positions.shape, generator=generator, dtype=batch.positions.dtype)
    return Inputs(batch, blend, noise * (batch.atom_mask & batch.has_conformer[:, None])[..., None])


def lively(module: Module) -> Module:
    """The module in float64 and evaluation mode, its weights so far from 0 that every term of a sum shows."""
    source = torch.Generator().manual_seed(7)
    for value in module.parameters():
        value.data += 0.2 * torch.randn(value.shape, generator=source)
    return module.double().eval()


def by_hand(
    num_atoms: int,
    bonds: Sequence[tuple[int, int, int]],
    positions: Tensor | None = None,
    elements: Sequence[int] | None = None,
) -> mb.RelationBatch:
    """A batch of one molecule from bonds (begin, end, id), its relations found slowly: every shortest path is tried.

    Parameters
    ----------
    num_atoms : int
    bonds : sequence of (begin, end, bond id)
    positions : Tensor, shape (n, 3), optional
    elements : sequence of int, optional
        Atomic numbers; carbon by default.
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(num_atoms))
    for begin, end, bond_id in bonds:
        graph.add_edge(begin, end, id=bond_id)
    spd = torch.full((1, num_atoms, num_atoms), -1)
    bond_path = torch.full((1, num_atoms, num_atoms, 5), -1)
    for i in range(num_atoms):
        for j in nx.node_connected_component(graph, i):
            paths = [[graph.edges[e]["id"] for e in nx.utils.pairwise(p)] for p in nx.all_shortest_paths(graph, i, j)]
            spd[0, i, j] = len(paths[0])
            best = min(paths)[:5]
            bond_path[0, i, j, : len(best)] = torch.tensor(best)
    atom = torch.zeros(1, num_atoms, 9, dtype=torch.long)
    atom[0, :, 0] = torch.tensor(elements if elements is not None else [6] * num_atoms) - 1
    return mb.RelationBatch(
        atom=atom,
        degree=torch.tensor([[degree for _, degree in sorted(graph.degree)]]),
        positions=torch.zeros(1, num_atoms, 3) if positions is None else positions[None],
        atom_mask=torch.ones(1, num_atoms, dtype=torch.bool),
        has_conformer=torch.tensor([positions is not None]),
        spd=spd,
        bond_path=bond_path,
    )
