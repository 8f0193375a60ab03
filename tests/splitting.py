"""What tests of splits divide, and what they expect of the parts."""

import numpy as np
import pandas as pd


def write(path, smiles, **columns):
    pd.DataFrame({"smiles": smiles, "y": np.arange(len(smiles)) % 2, **columns}).to_csv(path, index=False)
    return path


def together(split, size):
    assert sorted(np.concatenate(list(split.parts.values())).tolist()) == list(range(size))
