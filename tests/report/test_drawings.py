"""Pictures of molecules: what is drawn is what was given."""

import numpy as np
import pytest
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.report import drawings, figures
from dgl_moleblend.report.words import SKELETON


@pytest.mark.parametrize("positions", ["none", "embed"])
def test_relation_matrices_show_the_numbers_of_the_batch(positions, tmp_path, generator):
    mol = Chem.MolFromSmiles("CC=O.[Na+]")
    batch = mb.RelationBatch.from_graphs([mb.MoleculeFeaturizer(positions=positions)(s) for s in ("CCCCCCC", mol)])
    figure = drawings.relation_matrices(mol, batch, mb.draw_blend(batch, generator=generator), index=1)
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert len(shown) == 5
    spd = np.asarray(shown[1].filled(-1))
    np.testing.assert_array_equal(spd, [[0, 1, 2, -1], [1, 0, 1, -1], [2, 1, 0, -1], [-1, -1, -1, 0]])
    first_bond = np.asarray(shown[2].filled(-1))
    np.testing.assert_array_equal(first_bond, [[-1, 0, 0, -1], [0, -1, 1, -1], [1, 1, -1, -1], [-1, -1, -1, -1]])
    if positions == "none":
        assert shown[3].mask.all()
    else:
        np.testing.assert_allclose(shown[3], batch.distance[1, :4, :4])
    path = figures.save(figure, tmp_path / "matrices.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_drawing_of_another_molecule_is_refused():
    batch = mb.RelationBatch.from_graphs([mb.MoleculeFeaturizer()("CCO")])
    with pytest.raises(ValueError, match=r"drawing has 6 atoms, molecule 0 of the batch has 3"):
        drawings.relation_matrices(Chem.MolFromSmiles("c1ccccc1"), batch)


def test_atom_contributions_are_to_scale():
    mol = Chem.MolFromSmiles("CCO")
    values = np.array([[0.5, 0.0], [-1.0, 0.0], [0.25, 0.0]])
    figure = drawings.atom_contributions(mol, values, ["logS / mol/L", "none"], ["predicted 1", "predicted 0"])
    bars = [axis for axis in figure.axes if axis.get_ylabel()]
    assert [axis.get_ylabel() for axis in bars] == ["contribution to logS / mol/L", "contribution to none"]
    assert bars[0].get_ylim() == (-1, 1), "the same reach to both sides, so that white is nothing"
    assert [axis.get_title() for axis in figure.axes[:2]] == ["predicted 1", "predicted 0"]
    first, second = (np.asarray(axis.images[0].get_array())[..., :3] for axis in figure.axes[:2])
    assert (np.ptp(first, axis=-1) > 0.2).any(), "colours"
    assert not (np.ptp(second, axis=-1) > 0.1).any(), "none where atoms add nothing"


def test_atoms_are_numbered_on_demand_and_the_skeleton_explained():
    mol, values = Chem.MolFromSmiles("CCO"), np.zeros((3, 1))
    plain, numbered = (drawings.atom_contributions(mol, values, ["y"], ["y"], numbers=n) for n in (False, True))
    assert " ".join(plain.get_supxlabel().split()) == SKELETON
    first, second = (np.asarray(figure.axes[0].images[0].get_array()) for figure in (plain, numbered))
    assert first.shape != second.shape or (first != second).any()
    drawn = (first[..., :3] < 1).any(-1)
    assert drawn[:21].any(), "the title stands close to the molecule"
    assert first.shape[0] < first.shape[1]


def test_molecules_as_svg():
    assert drawings.molecule_svg("CCO").startswith(b"<?xml")
    assert drawings.molecule_svg("<script>") is None
    assert drawings.molecule_svg("") is None
