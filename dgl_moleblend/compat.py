"""DGL on a torch that DGL's wheels know nothing of; the only place that knows."""


def install() -> None:
    """Make `import dgl` work."""
