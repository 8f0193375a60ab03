"""Trees as arrays of their nodes: no pickle, no scikit-learn to predict with."""

from typing import Any, NamedTuple

import numpy as np
from typing_extensions import Self

from dgl_moleblend.errors import CheckpointError

_AT_ONCE = 200_000  # paths that are followed together


class Forest(NamedTuple):
    """The nodes of some trees, each tree from its root on, a left child right behind its parent.

    Parameters
    ----------
    roots : ndarray of int, shape (trees,)
    column : ndarray of int, shape (nodes,)
        What a node looks at.
    threshold : ndarray of float32, shape (nodes,)
        A value not above it goes left.
    right : ndarray of int32, shape (nodes,)
        How many nodes on the right child is; 0 in a leaf.
    value : ndarray of float32, shape (leaves, t)
        The answer of each leaf, in the order of the nodes.
    """

    roots: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    right: np.ndarray
    value: np.ndarray

    @classmethod
    def from_trees(cls, trees: list[Any]) -> Self:
        """Take over the trees of a fitted forest of scikit-learn's.

        Values are compared as float32, so thresholds are rounded down to it: no comparison changes.
        """
        column, threshold, right, value = [], [], [], []
        for tree in trees:
            leaf = tree.children_left < 0
            here = np.arange(tree.node_count)
            assert (leaf | (tree.children_left == here + 1)).all(), "trees are grown depth first"
            rounded = tree.threshold.astype(np.float32)
            above = rounded > tree.threshold
            rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
            column.append(np.where(leaf, 0, tree.feature).astype(np.uint16))
            threshold.append(rounded)
            right.append(np.where(leaf, 0, tree.children_right - here).astype(np.int32))
            value.append(tree.value[leaf, :, 0].astype(np.float32))
        roots = np.cumsum([0, *(len(nodes) for nodes in right[:-1])])
        return cls(roots, *map(np.concatenate, (column, threshold, right, value)))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the mean over trees of the leaves that rows end in, shape (N, t), float64."""
        leaf = np.cumsum(self.right == 0) - 1
        answer = np.empty((len(x), self.value.shape[1]))
        height = max(1, _AT_ONCE // len(self.roots))
        for start in range(0, len(x), height):
            part = np.ascontiguousarray(x[start : start + height], np.float32)
            node = np.tile(self.roots, len(part))
            row = np.repeat(np.arange(len(part)), len(self.roots))
            moving = np.flatnonzero(self.right[node] > 0)
            while len(moving):
                at = node[moving]
                goes_left = part[row[moving], self.column[at]] <= self.threshold[at]
                node[moving] = at + np.where(goes_left, 1, self.right[at])
                moving = moving[self.right[node[moving]] > 0]
            ends = self.value[leaf[node]].reshape(len(part), len(self.roots), -1)
            answer[start : start + height] = ends.mean(1, dtype=np.float64)
        return answer

    def check(self, columns: int, name: str) -> None:
        """Raise a CheckpointError if the arrays do not fit each other, or a path could leave them."""
        nodes, ends = len(self.right), np.append(self.roots[1:], len(self.right))
        same = nodes == len(self.column) == len(self.threshold) > 0 and (np.diff(self.roots) > 0).all()
        inside = same and self.value.ndim == 2 and len(self.value) == (self.right == 0).sum()
        if inside:
            last = np.repeat(ends, np.diff(np.append(self.roots, nodes)))
            here = np.arange(nodes)
            inside = self.roots[0] == 0 and (self.right >= 0).all() and (here + self.right < last).all()
            inside = inside and bool((self.column[self.right > 0] < columns).all())
        if not inside:
            raise CheckpointError(
                f"the stored trees of {name} do not fit each other: {nodes} nodes, {len(self.column)} columns,"
                f" {len(self.threshold)} thresholds, values of shape {self.value.shape}",
                fix="restore the folder, or train the model again",
            )
