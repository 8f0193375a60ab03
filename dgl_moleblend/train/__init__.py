"""Training: a Lightning module, one run in a folder, and what a user runs on top of it."""
