"""A file of molecules -> records, each row accounted for."""
