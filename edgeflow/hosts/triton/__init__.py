"""Bundles as models of Triton Inference Server: a stream of frames is a sequence."""
