"""Embeddings with scikit-learn: MoleBLEND turns molecules into vectors, ridge regression learns from them.

By default the molecules are FreeSolv's, and the model is a tiny one, pretrained on them for a moment; better
vectors come from a model of your own, pretrained on more (`dgl-moleblend pretrain`).

    python examples/embeddings_sklearn.py
    python examples/embeddings_sklearn.py --model pretrained --csv esol.csv --target logS
"""

import argparse
from pathlib import Path

import dgl_moleblend as mb

# isort: split
import numpy as np
import pandas as pd
from sample_data import freesolv
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dgl_moleblend.predict.embedding import embed
from dgl_moleblend.predict.ensemble import featurizer_of
from dgl_moleblend.train.pretrain import pretrain

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--csv", type=Path, help="a table with a column smiles; the default is FreeSolv")
parser.add_argument("--target", default="expt", help="its column of measured values")
parser.add_argument("--model", help="folder of any saved model; by default one is pretrained")
parser.add_argument("--epochs", type=int, default=5, help="of that pretraining")
parser.add_argument("--out", type=Path, default=Path("out/embeddings_sklearn"))
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

# %% Molecules. Rows that cannot be read, or have no measured value, are left out and counted.
table = pd.read_csv(args.csv) if args.csv else freesolv()
table = table.dropna(subset=["smiles", args.target])
smiles, target = table["smiles"].tolist(), table[args.target].to_numpy()
if args.model is None:
    args.model = pretrain(
        mb.MoleculeDataset.from_smiles(smiles),  # no measured value is seen
        args.out / "pretrained",
        start=mb.EncoderConfig.tiny(),
        training=mb.TrainingConfig(max_epochs=args.epochs, seed=args.seed),
        overwrite=True,
        compute=mb.Compute(progress=False),
    )
dataset = mb.MoleculeDataset.from_smiles(smiles, featurizer=featurizer_of(args.model))
print(f"{len(dataset)} molecules, {len(dataset.rejects)} left out")
target = target[dataset.rows]

# %% One vector for every molecule. The mean over the atoms needs no fine-tuning to say something of the molecule.
vectors = embed(args.model, dataset, readout="mean", progress=False)
np.savez(args.out / "embeddings.npz", embedding=vectors, smiles=np.array(dataset.smiles), target=target)
print(f"embeddings: {vectors.shape}")

# %% From here on it is scikit-learn: five folds, drawn at random.
folds = KFold(5, shuffle=True, random_state=args.seed)
models = {
    "the mean": DummyRegressor(),
    "ridge regression": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 15))),
}
rmse = {}
for name, model in models.items():
    scores = -cross_val_score(model, vectors, target, cv=folds, scoring="neg_root_mean_squared_error")
    rmse[name] = scores.mean()
    print(f"RMSE of {name}: {scores.mean():.3f} +- {scores.std():.3f}")
