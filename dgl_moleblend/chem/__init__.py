"""One molecule: read, given positions, turned into compact arrays, compared with others."""
