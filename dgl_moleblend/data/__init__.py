"""Molecules from files to compact arrays, relations and graphs."""
