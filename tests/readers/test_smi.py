"""SMI files: SMILES, extension and name, or a table."""

from molecule_files import read, write

from dgl_moleblend.data.dataset import MoleculeDataset


def test_smi_files(tmp_path):
    text = "# a comment\nCCO ethyl alcohol\n\nC\tmethane\nCC |(0,0,0;1.5,0,0)| ethane in 3D\nc1ccccc1\n"
    records = read(write(tmp_path, "a.smi", text))
    assert [(r.row, r.line, r.smiles, r.id) for r in records] == [
        (0, 2, "CCO", "ethyl alcohol"),
        (1, 4, "C", "methane"),
        (2, 5, "CC |(0,0,0;1.5,0,0)|", "ethane in 3D"),
        (3, 6, "c1ccccc1", ""),
    ]


def test_two_words_in_a_cell_are_a_rejected_row_and_names_of_smi_files_are_not(tmp_path):
    table = "smiles\nCCO CCN\nCC O\nCCO |$;;OH$|\nCCO\n"
    dataset = MoleculeDataset.from_file(write(tmp_path, "a.csv", table))
    assert dataset.rejects[["row", "line", "smiles", "stage"]].to_numpy().tolist() == [
        [0, 2, "CCO CCN", "parse"],
        [1, 3, "CC O", "parse"],
    ]
    assert "goes on after a blank: 'CCN'" in dataset.rejects["reason"][0]
    assert dataset.rows.tolist() == [2, 3]
    smi = MoleculeDataset.from_file(write(tmp_path, "a.smi", "CCO CCN\nCC |(0,0,0;1.5,0,0)| ethane in 3D\n"))
    assert (len(smi), smi.ids) == (2, ["CCN", "ethane in 3D"])
    assert MoleculeDataset.from_smiles(["CCO CCN", "CCO"]).rejects["row"].tolist() == [0]


def test_smi_with_a_header_is_a_table(tmp_path):
    records = read(write(tmp_path, "a.smi", "smiles id logS\nC m 1.5\nCC e\n"), task_columns=["logS"])
    assert [(r.smiles, r.id, r.labels, r.error) for r in records] == [
        ("C", "m", (1.5,), None),
        ("CC", "", (), "the row has 2 fields, the header 3"),
    ]
