"""MoleBLEND as scikit-learn's estimators: SMILES in, embeddings or properties out, in a Pipeline or a grid search."""

from dgl_moleblend.sklearn.embedding import MoleBlendEmbedding
from dgl_moleblend.sklearn.properties import MoleBlendClassifier, MoleBlendRegressor

__all__ = ["MoleBlendClassifier", "MoleBlendEmbedding", "MoleBlendRegressor"]
