"""Attribution: contributions add up to the difference that they explain, follow the atoms, and change no model."""

import numpy as np
import pytest
import torch
from molecules import AWKWARD_SMILES, lively, molecule_with_positions, rewrite
from rdkit import Chem
from tables import QUIET, chain, chains, parts

import dgl_moleblend as mb
from dgl_moleblend.errors import SchemaError
from dgl_moleblend.models.targets import to_prediction
from dgl_moleblend.predict.attribution import attribute
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.train.finetune import finetune

GIVEN = mb.MoleculeFeaturizer(positions="given")
FLAT = mb.MoleculeFeaturizer()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that learned a little about chains: how many atoms, how many nitrogens."""
    dataset = chains(150, conformers=0)
    config = mb.TrainingConfig(max_epochs=20, batch_size=8, learning_rate=3e-3)
    out = tmp_path_factory.mktemp("model") / "m"
    settings = {
        "start": mb.EncoderConfig.tiny(),
        "model": mb.PredictorConfig("mean"),
        "training": config,
        "compute": QUIET,
    }
    finetune(dataset, parts(dataset), out, **settings)
    return PropertyModel.from_pretrained(out)


@pytest.mark.parametrize("readout", ["token", "mean", "sum"])
@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_contributions_add_up(smiles, readout, generator, layout):
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    predictor = lively(mb.MoleBlendPredictor(2, encoder, readout=readout))
    molecule = GIVEN.arrays(molecule_with_positions(smiles, generator))
    found = attribute(predictor, molecule)
    batch = mb.MoleculeBatch.from_arrays([molecule]).relations()
    with torch.no_grad():
        np.testing.assert_allclose(found.prediction, predictor(batch)[0], atol=1e-5, err_msg="the model's prediction")
    size = np.maximum(np.abs(found.prediction - found.baseline), np.abs(found.atoms).sum(0))
    assert (np.abs(found.gap) <= 1e-3 * size).all(), (found.gap, size, found.points)
    np.testing.assert_allclose(found.atoms.sum(0) + found.baseline + found.gap, found.prediction)


def test_a_closer_tolerance_takes_more_points():
    predictor = lively(mb.MoleBlendPredictor(1, mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())))
    rough, close = (attribute(predictor, FLAT.arrays("CC(=O)N"), tolerance=t) for t in (1.0, 1e-9))
    assert close.points > rough.points
    assert abs(close.gap[0]) < max(abs(rough.gap[0]), 1e-12)


def test_contributions_of_a_trained_model_add_up_in_the_unit_of_the_target(trained):
    molecule = FLAT.arrays("CNCNO")
    found = attribute(trained.predictor, molecule).scaled(trained.scaling.scale, trained.scaling.mean)
    batch = mb.MoleculeBatch.from_arrays([molecule]).relations()
    with torch.no_grad():
        expected = to_prediction(trained.predictor.eval()(batch), "regression", trained.scaling)[0]
    np.testing.assert_allclose(found.prediction, expected, rtol=1e-4)
    np.testing.assert_allclose(found.atoms.sum(0), found.prediction - found.baseline, rtol=5e-3, atol=1e-2)


def test_nitrogens_add_most_to_the_number_of_nitrogens(trained):
    molecule = chain(8, np.random.default_rng(3), conformers=0)  # as it was trained on
    nitrogen = molecule.atom[:, 0] == 6
    assert 0 < nitrogen.sum() < 8
    found = attribute(trained.predictor, molecule, tasks=[1])
    assert found.atoms[nitrogen, 0].min() > found.atoms[~nitrogen, 0].max(), found.atoms


@pytest.mark.parametrize("smiles", ["CC(=O)Oc1ccccc1C(=O)O", "CC(=O)[O-].[NH3+]CCO", "C1CC2CCC1(F)C2"])
def test_contributions_follow_the_atoms(smiles, generator, layout):
    predictor = lively(mb.MoleBlendPredictor(2, mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())))
    mol = molecule_with_positions(smiles, generator)
    other, order = rewrite(mol, generator)
    first, second = (attribute(predictor, GIVEN.arrays(m)) for m in (mol, other))
    np.testing.assert_allclose(second.atoms, first.atoms[order], atol=1e-5)


def test_alike_atoms_contribute_alike(trained):
    found = attribute(trained.predictor, FLAT.arrays("c1ccccc1"))
    np.testing.assert_allclose(found.atoms, np.broadcast_to(found.atoms[:1], found.atoms.shape), atol=1e-12)


def test_conformers_are_averaged_as_in_prediction(generator):
    predictor = lively(mb.MoleBlendPredictor(1, mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())))
    molecule = GIVEN.arrays(molecule_with_positions("CCO", generator))
    bent = 1.1 * molecule.positions + np.array([[[0, 0, 0], [0, 0, 0], [1, 2, 0]]], np.float32)
    both = type(molecule)(
        molecule.atom, molecule.bond_index, molecule.bond_id, np.concatenate([molecule.positions, bent])
    )
    bent_one = type(molecule)(molecule.atom, molecule.bond_index, molecule.bond_id, bent)
    one, two, mean = (attribute(predictor, m) for m in (molecule, bent_one, both))
    assert not np.allclose(one.atoms, two.atoms)
    np.testing.assert_allclose(mean.atoms, (one.atoms + two.atoms) / 2)
    np.testing.assert_allclose(mean.prediction, (one.prediction + two.prediction) / 2)


def test_the_model_is_left_as_it_was(predictor):
    predictor.float().train()
    before = {name: value.clone() for name, value in predictor.state_dict().items()}
    attribute(predictor, FLAT.arrays("CCO"))
    assert predictor.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in predictor.parameters())
    assert all(torch.equal(value, before[name]) for name, value in predictor.state_dict().items())
    assert not predictor.encoder.atom_embedding._forward_hooks


def test_what_cannot_be_attributed_is_refused(predictor):
    with pytest.raises(ValueError, match="tasks"):
        attribute(predictor, FLAT.arrays("CCO"), tasks=[3])
    empty = FLAT.arrays("C")
    empty = type(empty)(empty.atom[:0], empty.bond_index, empty.bond_id, empty.positions)
    with pytest.raises(SchemaError, match="no atoms"):
        attribute(predictor, empty)


def test_a_drawing_needs_every_atom():
    from dgl_moleblend.report import drawings

    with pytest.raises(ValueError, match=r"must have shape \(n, t\) = \(3, 1\), got \(2, 1\)"):
        drawings.atom_contributions(Chem.MolFromSmiles("CCO"), np.zeros((2, 1)), ["y"], [""])
