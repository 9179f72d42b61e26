"""Engines and frames compared with what the model's own code makes of them."""
