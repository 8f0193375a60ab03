"""Pairs of atoms: their relations as graphs and as padded batches."""
