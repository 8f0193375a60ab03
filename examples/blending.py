"""A walk through blending on one molecule: what is shown, what is hidden, and how a model recovers it.

Run it as a script, or cell by cell (`# %%`) in an editor that knows them.

    python examples/blending.py
    python examples/blending.py --smiles 'CC(=O)Nc1ccc(O)cc1' --steps 3000
"""

import argparse

import dgl_moleblend as mb

# isort: split
import torch

from dgl_moleblend.chem.vocabulary import describe_bond
from dgl_moleblend.models.objectives import bond_path_classes, spd_classes
from dgl_moleblend.schema import RELATIONS

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--smiles", default="OCC(N)C(=O)O", help="the default is serine")
parser.add_argument("--steps", type=int, default=300, help="training steps in the last part")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

# %% Every ordered pair of atoms has three relations. Row i receives, column j sends.
graph = mb.MoleculeFeaturizer(positions="embed", seed=args.seed)(args.smiles)  # a DGLGraph, one edge per pair
batch = mb.RelationBatch.from_graph(graph)  # the same numbers as padded tensors, here a batch of one molecule
n = graph.num_nodes()
print(f"{args.smiles}: {n} atoms, {n * n} pairs\n")

print("spd: bonds on a shortest path")
for row in batch.spd[0].tolist():
    print("  " + " ".join(f"{spd:3d}" for spd in row))
print("\ndistance: angstrom")
for row in batch.distance[0].tolist():
    print("  " + " ".join(f"{distance:5.2f}" for distance in row))
first, last = 0, n - 1
bonds = [describe_bond(bond) for bond in batch.bond_path[0, first, last].tolist() if bond >= 0]
print(f"\nbond path: the first five bonds from atom {first} to atom {last}\n  " + " | ".join(bonds))

# %% A blend draws, for every pair on its own, the one relation that is shown; the other two are hidden.
# For every atom it draws whether its 2D term (degree) or its 3D term (distances to all atoms) is shown.
generator = torch.Generator().manual_seed(args.seed)
blend = mb.draw_blend(batch, ratio=(0.2, 0.2, 0.6), atom_ratio=(0.4, 0.6), generator=generator)
print("\na blend: S shows spd, B the bond path, D the distance; the last column is the atom's term")
for row, term in zip(blend.pair[0].tolist(), blend.atom[0].tolist(), strict=True):
    print("  " + " ".join("SBD"[shown] for shown in row) + "   " + ("2D", "3D")[term])
for k, name in enumerate(RELATIONS):
    shown = int((blend.pair == k).sum())
    print(f"  {name}: shown for {shown} pairs, hidden for {n * n - shown}")

# %% The encoder's attention gets the bias of the relation that is shown, and of no other.
model = mb.BlendPretraining.from_config(mb.EncoderConfig.tiny()).eval()
with torch.no_grad():
    biases = model.encoder.relation_biases(batch)  # each (1, n, n, heads)
    blended = model.encoder(batch, blend=blend).bias
    picked = torch.stack([biases[name] for name in RELATIONS])  # (3, 1, n, n, heads)
    expected = picked.gather(0, blend.pair.long()[None, ..., None].expand_as(picked[:1]))[0]
print(f"\nbias of the blend: {tuple(blended.shape)}")
print(f"  largest difference from the biases of the shown relations: {(blended - expected).abs().max():.1e}")


# %% From the final states of both atoms the model predicts all three relations, and the noise on the positions.
def score() -> dict[str, float]:
    """Score predictions where a relation is hidden, mean over 20 blends that training never sees."""
    model.eval()
    source = torch.Generator().manual_seed(10_000 + args.seed)
    hits, errors = {"spd": [], "bond_path": []}, []
    for _ in range(20):
        blend, noise = mb.draw_blend(batch, generator=source), mb.draw_noise(batch, generator=source)
        with torch.no_grad():
            output = model(batch, blend=blend, noise=noise)
        spd = spd_classes(batch.spd, blend.pair != 0)
        bond = bond_path_classes(batch.bond_path, blend.pair != 1)
        hits["spd"].append((output.spd_logits.argmax(-1) == spd)[spd >= 0])
        hits["bond_path"].append((output.bond_path_logits.argmax(-1) == bond)[bond >= 0])
        hidden = (blend.pair != 2) & ~torch.eye(n, dtype=torch.bool)
        errors.append((output.position_prediction - batch.distance)[hidden].abs())
    return {
        "hidden spd found": torch.cat(hits["spd"]).float().mean().item(),
        "hidden bonds found": torch.cat(hits["bond_path"]).float().mean().item(),
        "error of hidden distances, angstrom": torch.cat(errors).mean().item(),
    }


noise = mb.draw_noise(batch, scale=0.2, generator=generator)  # angstrom; the encoder sees positions + noise
with torch.no_grad():
    output = model(batch, blend=blend, noise=noise)
print("\npredictions")
for name in ("spd_logits", "bond_path_logits", "position_prediction", "denoising"):
    print(f"  {name}: {tuple(getattr(output, name).shape)}")
print("losses before training: " + ", ".join(f"{name} {loss:.3f}" for name, loss in output.losses.items()))
before = score()

# %% Training is: draw a blend and noise, predict, step. With one molecule, the model learns it by heart.
# No two atoms of serine have the same features, so 300 steps will do; alike atoms, as in a ring, take thousands.
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
model.train()
losses = []
for _ in range(args.steps):
    output = model(
        batch, blend=mb.draw_blend(batch, generator=generator), noise=mb.draw_noise(batch, generator=generator)
    )
    optimizer.zero_grad()
    output.loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    losses.append(output.loss.item())
after = score()
print(f"\nafter {args.steps} steps, on blends that training has not seen")
for name in before:
    print(f"  {name}: {before[name]:.2f} -> {after[name]:.2f}")
