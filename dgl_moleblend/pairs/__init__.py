"""Every ordered pair of atoms: relations, graphs, batches, and the loader that makes them."""
