"""Groups that stay whole, and the newest molecules as the test: from columns of files and of DataFrames."""

import numpy as np
import pandas as pd
import pytest
from commands import run, succeed

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.given_splits import read_words, split_by_group, split_by_time
from dgl_moleblend.data.labelled import divide, open_labelled
from dgl_moleblend.errors import DataError

ROWS = 40


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "assay.csv"
    frame = pd.DataFrame({
        "smiles": ["C" * (k % 9 + 1) + "ON"[k % 2] for k in range(ROWS)], "y": np.arange(ROWS, dtype=float),
        "series": [f"s{k // 4}" for k in range(ROWS)], "year": [2000 + k % 10 for k in range(ROWS)],
        "date": [f"2021-{k % 12 + 1:02}-15" for k in range(ROWS)],
    })  # fmt: skip
    frame.loc[3, "y"] = np.nan
    frame.to_csv(path, index=False)
    return path


def test_no_group_is_in_two_parts(table):
    dataset = MoleculeDataset.from_file(table, task_columns=["y"])
    frame = pd.read_csv(table)
    drawn = set()
    for seed in (0, 1, 2, 0):
        split = split_by_group(dataset, read_words([table], "series", "--group-column"), "series", seed=seed)
        found = {name: {*frame["series"][dataset.rows[part]]} for name, part in split.parts.items()}
        assert {name: len(groups) for name, groups in found.items()} == {"train": 8, "validation": 1, "test": 1}
        assert not found["train"] & found["test"] | found["train"] & found["validation"]
        assert sum(map(len, split.parts.values())) == ROWS - 1, "the row without a label is in no part"
        assert split.facts["unlabelled"] == 1
        drawn.add(tuple(split.parts["test"]))
    assert 1 < len(drawn) < 4, "the seed decides, and nothing else"


@pytest.mark.parametrize("column", ["year", "date"])
def test_the_newest_test(table, column):
    dataset = MoleculeDataset.from_file(table, task_columns=["y"])
    split = split_by_time(dataset, read_words([table], column, "--time-column"), column, (0.6, 0.2, 0.2))
    when = pd.read_csv(table)[column]
    parts = [when[dataset.rows[split.parts[name]]] for name in ("train", "validation", "test")]
    assert parts[0].max() < parts[1].min()
    assert parts[1].max() < parts[2].min()
    assert sum(map(len, parts)) == ROWS - 1


@pytest.mark.parametrize(
    ("column", "cell", "what"),
    [("series", "", r"column 'series' is blank\n  where: .*assay.csv, line 7"),
     ("year", "soon", r"'soon' in column 'year' is neither a number nor a date\n  where: .*assay.csv, line 7")],
)  # fmt: skip
def test_a_cell_that_says_nothing_is_named(table, column, cell, what):
    frame = pd.read_csv(table, dtype=str)
    frame.loc[5, column] = cell
    frame.to_csv(table, index=False)
    option = {"series": "--group-column", "year": "--time-column"}[column]
    result = run("finetune", table, "--tasks", "y", "--head", "kernel", option, column, "--workers", 0, "--quiet", "-o",
                 table.with_name("m"))  # fmt: skip
    assert result.exit_code == 2
    assert pd.Series([result.output]).str.contains(what).all(), result.output


def test_one_group_cannot_be_divided(table):
    dataset = MoleculeDataset.from_file(table, task_columns=["y"])
    words = dict.fromkeys(range(ROWS), ("same", "here"))
    with pytest.raises(DataError, match="column 'series' holds 1 groups, too few"):
        split_by_group(dataset, words, "series")


def test_commands_and_python_divide_alike(table, tmp_path):
    for option, way in (("--group-column", "group"), ("--time-column", "time")):
        column = {"group": "series", "time": "year"}[way]
        succeed("finetune", table, "--tasks", "y", "--head", "kernel", option, column, "--workers", 0, "--quiet", "-o",
                tmp_path / way)  # fmt: skip
        written = pd.read_csv(tmp_path / way / "split.csv").set_index("row")["split"].dropna()
        for source in (table, pd.read_csv(table)):
            data = open_labelled(source, "y", FeaturizerConfig())
            split = divide(data, {way: column})
            found = {int(data.dataset.rows[k]): name for name, part in split.parts.items() for k in part}
            assert found == {row: name for row, name in written.items() if name in split.parts}
    result = run("finetune", table, "--tasks", "y", "--group-column", "series", "--time-column", "year")
    assert (result.exit_code, "leave out --time-column" in result.output) == (2, True)
    with pytest.raises(DataError, match="no column 'serie'"):
        divide(open_labelled(pd.read_csv(table), "y", FeaturizerConfig()), {"group": "serie"})
