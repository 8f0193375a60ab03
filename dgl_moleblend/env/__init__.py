"""DGL on any torch: what is missing is put in its place, tried, and reported."""
