"""Video in and out: decode, infer and encode in overlapping stages (needs PyAV)."""
