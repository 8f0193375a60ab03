"""A saved model over a data set: properties, embeddings, how far off they are, and which atoms they come from."""
