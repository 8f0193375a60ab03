"""Several tables as one: the molecules of all, in order, and nothing of one taken for another's."""

import pickle

import numpy as np
import pytest
from tables import chains

import dgl_moleblend as mb
from dgl_moleblend.data.joined import JoinedTable
from dgl_moleblend.data.table import MoleculeTable


def test_molecules_stand_one_table_after_the_other() -> None:
    first, second = chains(5, num_tasks=2, rejects=2), chains(4, num_tasks=1, conformers=3, seed=1)
    joined = mb.MoleculeDataset(JoinedTable([first.table, second.table]))
    assert len(joined) == 9
    for k, sample in enumerate([*first, *second]):
        np.testing.assert_array_equal(joined[k].molecule.atom, sample.molecule.atom)
        np.testing.assert_array_equal(joined[k].molecule.positions, sample.molecule.positions)
        assert (joined[k].row, joined[k].smiles, joined[k].source) == (sample.row, sample.smiles, sample.source)
    assert joined.num_conformers.tolist() == [1] * 5 + [3] * 4
    assert joined.num_atoms.tolist() == [*first.num_atoms, *second.num_atoms]
    assert joined.labels.shape == (9, 0)
    assert joined[0].labels.shape == (0,)
    assert joined.rejects["row"].tolist() == [1, 3]
    assert first.labels.shape == (5, 2), "the tables that are joined stay as they are"


def test_sources_are_not_taken_for_those_of_the_first_table() -> None:
    first, second = chains(2).table, chains(2).table
    other = MoleculeTable(second._batches, second.task_names, ("other.csv",))
    assert [sample.source for sample in JoinedTable([first, other])] == ["chains.csv"] * 2 + ["other.csv"] * 2


def test_workers_get_the_same_molecules() -> None:
    joined = JoinedTable([chains(3).table, chains(2, seed=1).table])
    again = pickle.loads(pickle.dumps(joined))
    assert again.smiles == joined.smiles
    np.testing.assert_array_equal(again[4].molecule.positions, joined[4].molecule.positions)


def test_new_molecules_are_featurized_as_in_the_table_that_embeds() -> None:
    def with_settings(**settings: object) -> MoleculeTable:
        table = chains(2).table
        return MoleculeTable(table._batches, table.task_names, table.sources, None, mb.FeaturizerConfig(**settings))

    given, embed, none = (with_settings(positions=name) for name in ("given", "embed", "none"))
    assert JoinedTable([given, given]).featurizer == given.featurizer
    assert JoinedTable([given, embed]).featurizer == embed.featurizer
    assert JoinedTable([none, given]).featurizer is None


def test_nothing_to_join() -> None:
    with pytest.raises(mb.DataError, match="no data sets to join"):
        mb.MoleculeDataset.from_stores([])
