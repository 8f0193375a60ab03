"""Splits by method: every molecule once, none in two parts, shares far from those asked for are said."""

import pytest
from commands import SMILES
from splitting import together

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.splits import split_by_method
from dgl_moleblend.errors import DataError


@pytest.mark.parametrize("scaffold", ["smiles", "decompose"])
def test_the_variant_of_a_scaffold_split_is_named(dataset, scaffold):
    split = split_by_method(dataset, "scaffold", (0.6, 0.2, 0.2), scaffold=scaffold)
    together(split, len(SMILES))
    assert split.facts["split_variant"] == f"dgllife ScaffoldSplitter, scaffold_func={scaffold!r}"


def test_an_empty_part_says_what_to_do(dataset):
    with pytest.raises(DataError, match=r"validation part of the split is empty \(train 1, .*[\s\S]*--split random"):
        split_by_method(dataset.subset([0, 1]), "consecutive", (0.5, 0.1, 0.4))


@pytest.mark.parametrize("method", ["random", "consecutive"])
def test_what_to_do_is_not_what_was_done(method):
    few = MoleculeDataset.from_smiles(["CCO", "CCN", "C1CC", "c1cc"])
    with pytest.raises(DataError, match="validation part of the split is empty") as raised:
        split_by_method(few, method, (0.5, 0.0, 0.5))
    assert ("--split random" in raised.value.fix) is (method != "random")
    for way in ("correct the 2 rows that were rejected (row 2: RDKit cannot read", "give more rows", "--fractions"):
        assert way in raised.value.fix


ACYCLIC = ["C" * (k + 1) for k in range(90)]
RINGS = [f"C1CC1{'C' * k}N{'C' * k}c1ccccc1" for k in range(10)]


def test_a_scaffold_split_of_mostly_acyclic_molecules_is_refused_in_words():
    molecules = MoleculeDataset.from_smiles(ACYCLIC + RINGS)
    words = (
        r"train \d+% \(\d+ molecules\) where 80% were asked for, validation 90% \(90 molecules\) where 10%[\s\S]*"
        r"test 0% \(0 molecules\)[\s\S]*90 of 100 molecules are acyclic, which counts as one scaffold[\s\S]*"
        r"fix: .*--split random"
    )
    with pytest.raises(DataError, match=words):
        split_by_method(molecules, "scaffold", (0.8, 0.1, 0.1))
    assert "split_warning" not in split_by_method(molecules, "random").facts


def test_a_scaffold_that_takes_more_than_its_share_is_warned_of():
    molecules = MoleculeDataset.from_smiles(ACYCLIC[:60] + [f"C1{'C' * k}1" for k in range(2, 42)])
    split = split_by_method(molecules, "scaffold", (0.4, 0.3, 0.3))
    assert "60 of 100 molecules are acyclic" in split.facts["split_warning"]
    assert "60%" in split.facts["split_warning"]
