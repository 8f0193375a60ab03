"""report.html of a model of atoms or bonds: what it says is what the files say."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from commands import SMILES
from folders import copy_to_edit
from pages import EVIL, Page, visit
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.report.site_page import write_site_report
from dgl_moleblend.report.words import score_text

QUICK = mb.TrainingConfig(max_epochs=2, batch_size=8, learning_rate=1e-3)


def frame(level):
    """Two values of each atom or bond: its place; and ten times the (first) atom's number, of oxygen none."""
    rows = []
    for smiles in SMILES:
        mol = Chem.MolFromSmiles(smiles)
        sites = mol.GetAtoms() if level == "atom" else mol.GetBonds()
        first = [site if level == "atom" else site.GetBeginAtom() for site in sites]
        number = [10.0 * atom.GetAtomicNum() if atom.GetAtomicNum() != 8 else None for atom in first]
        place = [float(site.GetIdx()) for site in sites]
        rows.append({"smiles": smiles, "id": f"m{len(rows)}", "place": place, "number": number})
    rows.append({"smiles": "C1CC", "id": "bad", "place": [], "number": []})
    return pd.DataFrame([row for row in rows if row["smiles"] == "C1CC" or len(row["place"])])


@pytest.fixture(scope="module", params=["atom", "bond"])
def model(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "m"
    how = {"encoder": mb.EncoderConfig.tiny(), "training": QUICK, "split": "random", "progress": False}
    return mb.finetune_atoms(frame(request.param), ["place", "number"], level=request.param, out=out, **how)


def test_it_says_what_the_files_say(model):
    page = Page(model.folder / "report.html")
    text, metrics = page.text, model.metrics
    assert f"{metrics['values']['train']:,} values of {metrics['rows']['train']} molecules" in text
    kinds = metrics["kinds"]["test"]
    cells = page.table("kinds").to_numpy()[1:].tolist()
    assert len(cells) == sum(map(len, kinds.values())) > 4
    for name, kind, *numbers in cells:
        found = kinds[name][kind]
        texts = [
            f"{score_text(found[key], key)} ({score_text(found[f'mean_by_kind_{key}'], key)})"
            for key in ("rmse", "mae")
        ]
        assert numbers == [f"{found['values']:,}", *texts]
    own, mean = (source["test"]["tasks"] for source in (metrics, metrics["mean_by_kind"]))
    share = np.mean([1 - (own[name]["rmse"] / mean[name]["rmse"]) ** 2 for name in own])
    assert f"{share:.0%} of the squared error of the mean by" in text
    counts = dict(page.table("counts").iloc[:, :2].to_numpy().tolist())
    assert counts["rejected"] == "1"
    assert int(counts["rows in the input"]) == sum(int(n) for name, n in counts.items() if name != "rows in the input")


def test_the_worst_site_of_the_worst_molecule_comes_first(model):
    table = model.predictions.query("split == 'test'")
    level = "atom" if "atom" in table else "bond"
    scale = json.loads((model.folder / "config.json").read_text())["extra"]["prior"]["scale"]
    off = pd.concat([(table[f"{name}_predicted"] - table[name]).abs() / by
                     for name, by in zip(("place", "number"), scale, strict=True)], axis=1)  # fmt: skip
    worst = table.loc[off.max(axis=1).idxmax()]
    text = Page(model.folder / "report.html").text
    cards = text[text.index("molecules with the worst predictions") :]
    first = cards.index(f"{level} {worst[level]} ({worst['kind']})")
    assert first < cards.index(f"row {worst['row']}") < cards.index("Training")


def test_text_of_the_files_stays_text(model, tmp_path):
    folder = copy_to_edit(model.folder, tmp_path / "m")
    table = pd.read_csv(folder / "predictions.csv")
    table.assign(id=EVIL, smiles=EVIL).to_csv(folder / "predictions.csv", index=False)
    page = Page(write_site_report(folder))
    assert EVIL in page.source.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace(
        "&#39;", "'"
    ).replace("&amp;", "&")
    assert len(page.all("script")) == 1
    assert not [one for one in page.all("img") if not str(one["src"]).startswith("data:")]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_a_browser_shows_it_and_asks_for_nothing(model, tmp_path):
    elements, console, asked = visit(model.folder / "report.html", tmp_path)
    assert elements.count("<img ") == len(Page(model.folder / "report.html").all("img"))
    assert not console
    assert not asked


def test_files_that_do_not_agree_are_named(model, tmp_path):
    folder = copy_to_edit(model.folder, tmp_path / "m")
    table = pd.read_csv(folder / "predictions.csv")
    table[table["row"] != table["row"].iloc[0]].to_csv(folder / "predictions.csv", index=False)
    with pytest.raises(DataError, match=r"predictions.csv has \d+ (test|validation) molecules, metrics.json \d+"):
        write_site_report(folder)
    with (model.folder / "predictions.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(CheckpointError, match=r"predictions.csv is not the file that the run left"):
        _ = mb.load(model.folder).predictions
