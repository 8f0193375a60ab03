"""Values of atoms and bonds: equivariance, padding, both directions of a bond; what the kind of a site tells."""

import dataclasses
import functools

import dgl
import numpy as np
import pytest
import torch
from molecules import AWKWARD_SMILES, Inputs, double, featurized, lively, molecule_with_positions
from properties import assert_padding_invariant, assert_permutation_equivariant
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.chem.compact import prepare
from dgl_moleblend.chem.vocabulary import mol_to_arrays
from dgl_moleblend.data.sites import SiteValues, site_kinds
from dgl_moleblend.errors import CheckpointError, ConfigError
from dgl_moleblend.models.predictor import MoleBlendPredictor
from dgl_moleblend.models.site_prior import SitePrior
from dgl_moleblend.models.sites import SitePredictor
from dgl_moleblend.predict.properties import PropertyModel


@pytest.fixture(params=["atom", "bond"])
def sites(request, layout):
    """A tiny predictor of two values in float64, in evaluation mode."""
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    return lively(SitePredictor(2, encoder, level=request.param))


def view(inputs, predictor):
    """What is predicted, laid out by atoms, or by pairs, where every bond stands both ways."""
    values, mask = predictor(inputs.batch), inputs.batch.atom_mask
    if predictor.level == "atom":
        laid = values.new_zeros(*mask.shape, values.shape[-1])
        laid[mask] = values
        return {"atoms/value": laid}
    laid = values.new_zeros(*mask.shape, mask.shape[1], values.shape[-1])
    laid[((inputs.batch.spd == 1) & inputs.batch.pair_mask).triu()] = values
    return {"pairs/value": laid + laid.transpose(1, 2)}


@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_values_move_with_their_atoms_and_bonds(sites, smiles, generator):
    mol = molecule_with_positions(smiles, generator)
    told = functools.partial(view, predictor=sites)
    assert_permutation_equivariant(told, mol, generator=generator, atol=1e-9, blend=False)
    count = mol.GetNumAtoms() if sites.level == "atom" else mol.GetNumBonds()
    assert len(sites(double(featurized([mol])))) == count


def test_a_molecule_is_told_the_same_beside_larger_ones_whatever_the_padding_holds(sites, awkward):
    told = functools.partial(view, predictor=sites)
    assert_padding_invariant(told, sites, Inputs(awkward), atol=1e-9)


def test_a_graph_is_told_as_its_padded_form(sites):
    graphs = [mb.MoleculeFeaturizer()(smiles) for smiles in ("CCO", "C", "c1ccccc1")]
    batch = mb.RelationBatch.from_graphs(graphs)
    torch.testing.assert_close(sites(dgl.batch(graphs)), sites(batch), atol=1e-9, rtol=0)


def test_what_is_saved_is_loaded(sites, tmp_path, awkward):
    single = sites.float()
    batch = dataclasses.replace(awkward, positions=awkward.positions.float())
    single.save_pretrained(tmp_path / "m")
    again = SitePredictor.from_pretrained(tmp_path / "m").eval()
    assert again.level == single.level
    torch.testing.assert_close(again(batch), single(batch), atol=0, rtol=0)
    encoder = mb.MoleBlendEncoder.from_pretrained(tmp_path / "m")  # the start of another model
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), single.encoder.parameters(), strict=True))
    with pytest.raises(CheckpointError, match="it predicts values of atoms or bonds"):
        PropertyModel.from_pretrained(tmp_path / "m")
    assert MoleBlendPredictor.from_pretrained(tmp_path / "m", n_tasks=1).readout == "mean"


def test_what_is_not_allowed_is_said():
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    for settings, words in (({"level": "pair"}, "level='pair'"), ({"relations": ("3d",)}, "relations=")):
        with pytest.raises(ConfigError, match=words):
            SitePredictor(1, encoder, **settings)
    with pytest.raises(ConfigError, match="n_tasks=0"):
        SitePredictor(0, encoder)


def test_means_are_of_each_kind_and_a_missing_one_is_of_all():
    values = SiteValues("atom", ("a", "b"), np.array([4]), np.array([[1.0, np.nan], [3, np.nan], [9, 2], [np.nan, 4]]),
                        np.array([*"CCON"]))  # fmt: skip
    prior = SitePrior.fit(values)
    overall = (13 / 3, 3.0)
    assert prior.means == {"": overall, "C": (2.0, 3.0), "O": (9.0, 2.0), "N": (pytest.approx(13 / 3), 4.0)}
    assert prior.scale == (pytest.approx((2 / 3) ** 0.5), 1.0)  # of b, each is the mean of its kind
    np.testing.assert_allclose(prior.of(np.array(["Br", "O"])), [overall, (9.0, 2.0)])
    assert SitePrior.from_stored(prior.to_dict(), 2, "here") == SitePrior(dict(prior.means), prior.scale, prior.counts)
    assert (
        SitePrior.from_stored({"means": dict(prior.means), "scale": prior.scale}, 2, "old")
        .knows(np.array(["Br"]))
        .all()
    )
    assert prior.knows(np.array(["C", "N", "Br"])).tolist() == [[True, False], [False, True], [False, False]]
    assert SitePrior.fit(values, by_kind=False).means == {"": overall}
    for damaged in ({}, {"means": {}, "scale": [1]}, {**prior.to_dict(), "scale": [1.0, 0.0]}, None):
        with pytest.raises(CheckpointError, match="means of the kinds of atoms are damaged"):
            SitePrior.from_stored(damaged, 2, "here")


def test_kinds_of_bonds_do_not_depend_on_their_direction():
    assert site_kinds(mol_to_arrays(prepare("OC=N")), "bond") == ["C-O single", "C-N double"]
    assert site_kinds(mol_to_arrays(prepare("c1ccccc1Cl")), "bond").count("C-C aromatic") == 6
    assert site_kinds(mol_to_arrays(Chem.MolFromSmiles("[Na+].[Cl-]")), "bond") == []
