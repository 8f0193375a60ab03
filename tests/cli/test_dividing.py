"""`finetune --replicates` and `--folds` beside `--test-file`: what is said, what is left, what goes together."""

import json

import pandas as pd
import pytest
from commands import QUICK, run, succeed

from dgl_moleblend.report.results import read_results


def test_replicates_end_with_mean_and_spread(table, tmp_path):
    options = ("--tasks", "size", "--split", "random", "--replicates", 3, "--seed", 4, *QUICK)
    result = succeed("finetune", table, *options, "-o", tmp_path / "m")
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    for k in range(3):
        assert f"random split (dgllife RandomSplitter, seed {4 + k}), replicate {k}: 23 mol" in result.stderr
    rmse = next(line.split() for line in result.stdout.splitlines() if line.startswith("rmse"))
    assert rmse[4:7] == [f"{metrics['mean']['test']['rmse']:.4f}", "+-", f"{metrics['deviation']['test']['rmse']:.4f}"]
    divided = pd.read_csv(tmp_path / "m" / "split.csv")
    for k in range(3):
        own = pd.read_csv(tmp_path / "m" / f"replicate-{k}" / "split.csv")
        assert own["split"].tolist() == divided.sort_values("row")[f"replicate-{k}"].tolist()
    tested = (divided.iloc[:, 1:] == "test").any(axis=1).sum()
    page = (tmp_path / "m" / "report.html").read_text()
    for words in ("judged on 12 predictions of test molecules of 3 splits", "Scores of all replicates together",
                  f'tested</th><td class="n">{tested}<', "seed 4, and 2 more by the seeds after it",
                  "The part of every row in each split is in"):  # fmt: skip
        assert words in page
    predicted = succeed("predict", tmp_path / "m", "-s", "CCO", "--format", "json", "--quiet")
    assert "size_spread" in json.loads(predicted.stdout)[0]


def test_folds_beside_a_test_file(table, tmp_path):
    frame = pd.read_csv(table)
    frame[:24].to_csv(tmp_path / "in.csv", index=False)
    frame[24:].to_csv(tmp_path / "test.csv", index=False)
    options = ("--tasks", "size", "--split", "random", "--folds", 3, "--test-file", tmp_path / "test.csv", *QUICK)
    result = succeed("finetune", tmp_path / "in.csv", *options, "-o", tmp_path / "m")
    assert "fold 2: 15 molecules train, 7 validate, 7 test" in result.stderr
    assert "test file: 7 rows kept, 0 rejected" in result.stderr
    assert "test, of the mean" in result.stdout
    found = read_results(tmp_path / "m")
    assert found.metrics["rows"] == {"train": 0, "validation": 22, "test": 7}
    assert {*found.split["row"][found.split["split"] == "test"]} == {str(row) for row in range(24, 31)}
    page = (tmp_path / "m" / "report.html").read_text()
    for words in ("learned from 22 molecules and judged on 7", "each in one fold, and trained on in the others",
                  "in no fold; predicted by the mean of all models"):  # fmt: skip
        assert words in page
    result = run("finetune", table, "--tasks", "size", "--folds", 3, "--test-file", table, *QUICK, "-o", tmp_path / "n")
    assert (result.exit_code, "is a training file, too: name it once" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "text"),
    [(["--replicates", 3], "--split scaffold divides in one way, whatever the seed: --replicates are of --split ran"),
     (["--replicates", 3, "--time-column", "id"], "leave out --replicates: --time-column says in one way how"),
     (["--replicates", 3, "--split", "random", "--folds", 3], "leave out --replicates: --folds says in one way"),
     (["--replicates", 3, "--split", "random", "--seeds", 2], "leave out --seeds: --replicates makes several models"),
     (["--folds", 3, "--validation-file", "{table}"], "leave out --folds: --validation-file or --test-file says"),
     (["--replicates", 3, "--split", "random", "--head", "kernel"], "leave out --replicates: it is of --head network")],
)  # fmt: skip
def test_what_does_not_go_together_is_named(table, tmp_path, options, text):
    options = [str(option).format(table=table) for option in options]
    result = run("finetune", table, "--tasks", "size", *options, "-o", tmp_path / "m")
    assert (result.exit_code, text in result.stderr) == (2, True), result.stderr
