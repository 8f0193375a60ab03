"""What stands on the encoder: heads, objectives, the two models, and the labels that they meet."""
