"""Models: heads and objectives on an encoder, and what they are given."""
