"""A data set on disk or in memory: filled from records, opened, joined, divided and summed up."""
