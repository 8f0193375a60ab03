"""What a caller hands over: which texts name files and folders, and which are molecules."""

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.inputs import open_inputs, path_of


def test_a_folder_of_files_is_an_input_unless_its_name_is_a_smiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("assays", "CCO"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.smi").write_text("CC\nC1CC\n")
        (tmp_path / name / "a.csv").write_text("smiles\nC\n")
    assert path_of("assays") == "assays"
    assert path_of("CCO") is None
    assert path_of("nothing") is None
    for given in ("assays", tmp_path / "CCO"):
        found = open_inputs(given, FeaturizerConfig())
        assert found.smiles.tolist() == ["C", "CC", "C1CC"]
        assert [*found.reasons] == [2]
