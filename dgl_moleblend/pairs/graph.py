"""MoleculeFeaturizer: SMILES or RDKit Mol -> DGLGraph that satisfies the schema."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor
from typing_extensions import Self

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.chem.compact import featurize_mol, prepare
from dgl_moleblend.chem.sanitize import rdkit_session
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.errors import ConfigError, MoleculeError, SchemaError
from dgl_moleblend.pairs.near import find_near_pairs
from dgl_moleblend.pairs.relations import bond_matrix, pairwise_distance, shortest_bond_path, shortest_path_distance
from dgl_moleblend.schema import NODE_FIELDS

if TYPE_CHECKING:
    from dgl import DGLGraph

logger = logging.getLogger(__name__)

MAX_GRAPH_ATOMS = 10_000
"""Most atoms of a graph of all pairs: that many make 10^8 edges of 27 bytes, and gigabytes more on the way there."""
_CHUNK_PAIRS = 1 << 15  # padded pairs whose relations are made at once: larger ones leave the processor's cache

NodeFeaturizer = Callable[[Chem.Mol], Mapping[str, Tensor]]


class MoleculeFeaturizer:
    """Turn molecules into DGLGraphs of all ordered pairs of atoms, as `schema` describes them.

    It can be pickled and sent to worker processes, and does not change the molecules it is given.

    Parameters
    ----------
    positions : {"none", "given", "embed"}
        No 3D; the Mol's own conformer (or the coordinates of a CXSMILES); or ETKDGv3 and MMFF94s, see
        `conformers.embed_positions`.
    seed : int
        Seed of the embedding. The positions of a molecule depend on it alone, not on what was embedded before.
    num_conformers : int
        Conformers to embed; a graph holds the first, `arrays` all.
    optimize : bool
        Whether MMFF94s relaxes embedded conformers.
    timeout : float
        Seconds that the embedding of one molecule may take.
    on_error : {"raise", "none"}
        Whether a molecule that cannot be featurized raises a `MoleculeError`, or is None in the result and a warning
        in the log, as dgllife's data sets count failures.
    chirality : {"cip", "tag"}
        How the sense of a tetrahedral centre is told: by its CIP label, or by RDKit's tag as in the authors' release.
    atom_data_field, bond_data_field : str
        Names of `atom` and `bond_path` in the graphs, for scripts that read others: dgllife's read "h" and "e".
    standardize : sequence of {"fragment", "neutral", "tautomer"}
        What is done to a molecule first: its largest fragment, without charges, as its canonical tautomer.
    reach : int, optional
        Leave out the pairs with more bonds between them than this. The graph is that of ``cut_off(graph, spd=reach)``,
        without one of all pairs on the way: a molecule of ten thousand atoms takes seconds. By default all pairs.

    Attributes
    ----------
    config : FeaturizerConfig
        The same settings, without `on_error`.

    Notes
    -----
    Edge number ``i * n + j`` goes from atom j, which sends, to atom i, which receives; i = j is included.

    No feature depends on how a molecule is numbered or written, unless ``chirality="tag"`` is asked for: in OGB's
    vocabulary, which the release's weights know, clockwise and counterclockwise are seen in the order of the bonds.

    Examples
    --------
    >>> graph = MoleculeFeaturizer()("C=CO")
    >>> graph.num_nodes(), graph.num_edges()
    (3, 9)
    >>> graph.edata["spd"].view(3, 3)
    tensor([[0, 1, 2],
            [1, 0, 1],
            [2, 1, 0]], dtype=torch.int16)
    >>> graph.edata["bond_path"].view(3, 3, 5)[0, 2]
    tensor([13,  1, -1, -1, -1], dtype=torch.int8)
    """

    def __init__(
        self,
        positions: str = "none",
        seed: int = 0,
        num_conformers: int = 1,
        optimize: bool = True,
        timeout: float = 60.0,
        on_error: str = "raise",
        chirality: str = "cip",
        atom_data_field: str = "atom",
        bond_data_field: str = "bond_path",
        standardize: Sequence[str] = (),
        reach: int | None = None,
    ) -> None:
        self.config = FeaturizerConfig(positions, seed, num_conformers, optimize, timeout, chirality, standardize)
        check(on_error in ("raise", "none"), "on_error", on_error, "'raise' or 'none'")
        check(reach is None or reach >= 0, "reach", reach, "at least 0 bonds, or None")
        self.on_error = on_error
        self.reach = reach
        self.atom_data_field = atom_data_field
        self.bond_data_field = bond_data_field

    @classmethod
    def from_config(cls, config: FeaturizerConfig, on_error: str = "raise") -> Self:
        """Build from settings."""
        return cls(**config.to_dict(), on_error=on_error)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.config.to_dict().items())
        return f"{type(self).__name__}({settings}, on_error={self.on_error!r})"

    def __call__(
        self,
        molecule: Any,
        node_featurizer: NodeFeaturizer | None = None,
        edge_featurizer: Any = None,
    ) -> DGLGraph | None:
        """Featurize one molecule.

        Parameters
        ----------
        molecule : str or Mol
            SMILES or RDKit Mol; anything else is a molecule that cannot be read.
        node_featurizer : callable, optional
            Such as dgllife's: Mol without the hydrogens that RDKit removes -> dict of tensors with one row per atom,
            which are added to ``ndata``.
        edge_featurizer : None
            Here because dgllife passes it by name. Edges are pairs of atoms, not bonds.

        Returns
        -------
        DGLGraph, or None with ``on_error="none"``

        Raises
        ------
        MoleculeError
            If the molecule cannot be read, or has no positions where they are asked for.
        ValueError
            If an edge_featurizer is given, or the fields of node_featurizer do not fit.
        """
        if edge_featurizer is not None:
            raise ConfigError(
                "edge_featurizer has one row per bond, but the edges of this graph are all ordered pairs of atoms",
                fix="pass edge_featurizer=None; edata['bond_path'] tells the bonds",
            )
        try:
            mol = prepare(molecule, steps=self.config.standardize)
            graph = self._graph(featurize_mol(mol, self.config))
        except MoleculeError as error:
            if self.on_error == "raise":
                raise
            logger.warning("%s", error)
            return None
        if node_featurizer is not None:
            _add_fields(graph, node_featurizer(mol))
        return self._named(graph)

    def _graph(self, molecule: MoleculeArrays) -> DGLGraph:
        return _graphs([_small_enough(molecule)])[0] if self.reach is None else _near_graph(molecule, self.reach)

    def _named(self, graph: DGLGraph) -> DGLGraph:
        if self.atom_data_field != "atom":
            graph.ndata[self.atom_data_field] = graph.ndata.pop("atom")
        if self.bond_data_field != "bond_path":
            graph.edata[self.bond_data_field] = graph.edata.pop("bond_path")
        return graph

    def arrays(self, molecule: Any, *, where: str | None = None, prepared: bool = False) -> MoleculeArrays:
        """Featurize one molecule into compact arrays, which hold O(n) numbers: what stores keep.

        Parameters
        ----------
        molecule : str or Mol
        where : str, optional
            Named in the error: file and line, or list index.
        prepared : bool
            The Mol comes from `read_smiles` or `prepare_mol`, in the standard form that is asked for, if any: this need
            not be done again.

        Raises
        ------
        MoleculeError
            Whatever `on_error` says.
        """
        mol = (
            molecule
            if prepared and isinstance(molecule, Chem.Mol)
            else prepare(molecule, where, self.config.standardize)
        )
        return featurize_mol(mol, self.config, where)

    def many(self, molecules: Iterable[Any]) -> list[DGLGraph | None]:
        """Featurize molecules faster than one by one: relations are made at once for molecules of like size.

        Parameters
        ----------
        molecules : iterable of str or Mol

        Returns
        -------
        list
            A graph for every molecule, in order, equal to what it gives alone. With ``on_error="none"``, None stands in
            the place of each that failed.

        Raises
        ------
        MoleculeError
            At the first molecule that fails; ``where`` names its index.
        """
        kept: dict[int, MoleculeArrays] = {}
        graphs: list[DGLGraph | None] = []
        with rdkit_session:
            for k, molecule in enumerate(molecules):
                where = f"molecules[{k}]"
                graphs.append(None)
                try:
                    mol = prepare(molecule, where, self.config.standardize)
                    arrays = featurize_mol(mol, self.config, where)
                    if self.reach is not None:
                        graphs[k] = self._named(_near_graph(arrays, self.reach))
                        continue
                    kept[k] = _small_enough(arrays, where)
                except MoleculeError as error:
                    if self.on_error == "raise":
                        raise
                    logger.warning("%s", error)
        for chunk in _chunks(sorted(kept, key=lambda k: kept[k].num_atoms), kept):
            for k, graph in zip(chunk, _graphs([kept[k] for k in chunk]), strict=True):
                graphs[k] = self._named(graph)
        return graphs


def _small_enough(molecule: MoleculeArrays, where: str | None = None) -> MoleculeArrays:
    if molecule.num_atoms > MAX_GRAPH_ATOMS:
        raise MoleculeError(
            f"{molecule.num_atoms:,} atoms are too many for a graph of all pairs (limit {MAX_GRAPH_ATOMS:,})",
            where=where,
            fix="give MoleculeFeaturizer a `reach` in bonds, or leave the molecule out",
        )
    return molecule


def _chunks(order: Sequence[int], molecules: Mapping[int, MoleculeArrays]) -> Iterator[list[int]]:
    """Cut a list of molecules that grow in size into batches of at most `_CHUNK_PAIRS` padded pairs."""
    chunk: list[int] = []
    for k in order:
        if chunk and (len(chunk) + 1) * molecules[k].num_atoms ** 2 > _CHUNK_PAIRS:
            yield chunk
            chunk = []
        chunk.append(k)
    if chunk:
        yield chunk


def _graphs(molecules: Sequence[MoleculeArrays]) -> list[DGLGraph]:
    """Make the relations of all molecules at once, and a graph of each."""
    size = max(molecule.num_atoms for molecule in molecules)
    bonds = bond_matrix(
        torch.from_numpy(np.concatenate([molecule.bond_index for molecule in molecules])),
        torch.from_numpy(np.repeat(np.arange(len(molecules)), [len(molecule.bond_id) for molecule in molecules])),
        torch.from_numpy(np.concatenate([molecule.bond_id for molecule in molecules])),
        len(molecules),
        size,
    )
    degrees = [molecule.degree for molecule in molecules]
    max_degree = max(int(degree.max()) for degree in degrees)
    spd = shortest_path_distance(bonds > 0)
    positions = torch.full((len(molecules), size, 3), torch.nan)
    conformers = [molecule.conformer() for molecule in molecules]
    for k, conformer in enumerate(conformers):
        if conformer is not None:
            positions[k, : len(conformer)] = torch.from_numpy(conformer)
    no_positions = all(conformer is None for conformer in conformers)
    of_pairs = {
        "spd": spd,
        "bond_path": shortest_bond_path(spd, bonds, max_degree),
        "distance": torch.full(spd.shape, torch.nan) if no_positions else pairwise_distance(positions),
    }

    graphs = []
    for k, molecule in enumerate(molecules):
        n = molecule.num_atoms
        graph = _complete_graph(n)
        graph.ndata["atom"] = torch.from_numpy(molecule.atom)
        graph.ndata["degree"] = torch.from_numpy(degrees[k])
        # NumPy cuts faster than torch; a copy, so that no graph keeps, or pickles, the whole batch
        graph.ndata["positions"] = torch.from_numpy(positions.numpy()[k, :n].copy())
        for name, value in of_pairs.items():
            own = value.numpy()[k, :n, :n].copy()
            graph.edata[name] = torch.from_numpy(own.reshape(n * n, *own.shape[2:]))
        graphs.append(graph)
    return graphs


def _near_graph(molecule: MoleculeArrays, reach: int) -> DGLGraph:
    """Make a graph of the pairs within reach; no array has a row for every pair of atoms."""
    import dgl

    n = molecule.num_atoms
    pairs = find_near_pairs(molecule.bond_index, molecule.bond_id, n, reach)
    graph = dgl.graph((torch.from_numpy(pairs.sender), torch.from_numpy(pairs.receiver)), num_nodes=n)
    positions = molecule.conformer()
    positions = np.full((n, 3), np.nan, np.float32) if positions is None else np.array(positions, np.float32)
    graph.ndata["atom"] = torch.from_numpy(molecule.atom)
    graph.ndata["degree"] = torch.from_numpy(molecule.degree)
    graph.ndata["positions"] = torch.from_numpy(positions)
    graph.edata["spd"] = torch.from_numpy(pairs.spd)
    graph.edata["bond_path"] = torch.from_numpy(pairs.bond_path)
    apart = positions[pairs.receiver] - positions[pairs.sender]
    graph.edata["distance"] = torch.from_numpy(np.sqrt((apart * apart).sum(-1)))
    return graph


def _complete_graph(num_atoms: int) -> DGLGraph:
    """Every ordered pair of atoms, sorted by receiver; each graph has edges of its own, for a user may change them."""
    import dgl  # takes a second, which a process that fills a store can do without

    atoms = torch.arange(num_atoms)
    return dgl.graph((atoms.repeat(num_atoms), atoms.repeat_interleave(num_atoms)), num_nodes=num_atoms)


def _add_fields(graph: DGLGraph, fields: Mapping[str, Tensor]) -> None:
    """Add what a dgllife node featurizer made."""
    for name, value in fields.items():
        if name in NODE_FIELDS:
            raise SchemaError(f"node_featurizer makes a field {name!r}, which is the schema's", fix="rename it")
        if len(value) != graph.num_nodes():
            raise SchemaError(f"node_featurizer made {len(value)} rows of {name!r} for {graph.num_nodes()} atoms",
                              fix="make one row per atom of the Mol that it is given")  # fmt: skip
        graph.ndata[name] = value
