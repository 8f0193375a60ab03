"""The same pairs padded, as rows, and as edges; one of them is opened for each input."""
