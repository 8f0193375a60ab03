"""DGL on any torch: what it needs to be imported, what stands in for its compiled parts, and what is wrong with it."""
