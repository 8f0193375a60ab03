"""Embeddings: the encoder's own states, of molecules and of atoms."""

import numpy as np
import pytest
import torch
from tables import chains

import dgl_moleblend as mb
from dgl_moleblend.predict.embedding import embed, embed_atoms
from dgl_moleblend.predict.tables import tabulate_atoms


@pytest.fixture
def encoder() -> mb.MoleBlendEncoder:
    torch.manual_seed(0)
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    for value in encoder.parameters():
        value.data += 0.2 * torch.randn_like(value)
    return encoder.eval()


@pytest.mark.parametrize("readout", ["token", "mean", "sum"])
def test_embeddings_are_the_encoders(encoder, tmp_path, readout):
    dataset = chains(9)
    encoder.save_pretrained(tmp_path)
    found = embed(tmp_path, dataset, readout=readout, progress=False)
    with torch.no_grad():
        for k, sample in enumerate(dataset):
            out = encoder(mb.MoleculeBatch.from_arrays([sample.molecule]).relations())
            expected = {"token": out.token[0], "mean": out.atoms[0].mean(0), "sum": out.atoms[0].sum(0)}[readout]
            np.testing.assert_allclose(found[k], expected.numpy(), rtol=1e-3, atol=1e-4)


def test_embeddings_of_a_fine_tuned_model_use_its_relations(encoder, tmp_path):
    flat = mb.MoleBlendPredictor(2, encoder, relations=("spd", "bond_path"))
    flat.save_pretrained(tmp_path)
    dataset = chains(5)
    np.testing.assert_array_equal(
        embed(tmp_path, dataset, progress=False),
        embed(tmp_path, dataset, progress=False, relations=("spd", "bond_path")),
    )
    assert not np.allclose(
        embed(tmp_path, dataset, progress=False), embed(tmp_path, dataset, progress=False, relations=("distance",))
    )


@pytest.mark.parametrize("readout", ["token", "mean", "sum"])
def test_molecules_are_read_out_as_the_model_reads_them(encoder, tmp_path, readout):
    mb.MoleBlendPredictor(1, encoder, readout=readout).save_pretrained(tmp_path / "fine-tuned")
    encoder.save_pretrained(tmp_path / "pretrained")
    for folder, kind in (("fine-tuned", readout), ("pretrained", "mean")):
        np.testing.assert_array_equal(
            embed(tmp_path / folder, chains(5), progress=False),
            embed(tmp_path / folder, chains(5), readout=kind, progress=False),
        )


def test_unknown_readout(tmp_path):
    with pytest.raises(ValueError, match=r"readout='max' is not allowed[\s\S]*'token', 'mean', 'sum'"):
        embed(tmp_path, chains(2), readout="max")


def test_atom_embeddings_are_averaged_over_conformers(encoder, tmp_path):
    dataset = chains(5, conformers=2)
    encoder.save_pretrained(tmp_path)
    expected = []
    with torch.no_grad():
        for sample in dataset:
            pair = [mb.MoleculeBatch.from_arrays([sample.molecule], [k]).relations() for k in range(2)]
            expected.append(sum(encoder(batch).atoms[0] for batch in pair).numpy() / 2)
    found = embed_atoms(tmp_path, dataset, progress=False)
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-3, atol=1e-4)
    table = tabulate_atoms(dataset, found)
    assert table["row"].tolist() == np.repeat(np.arange(5), dataset.num_atoms).tolist()
