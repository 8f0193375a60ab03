"""One molecule: its features as numbers."""
