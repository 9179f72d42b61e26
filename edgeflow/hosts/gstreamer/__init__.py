"""Bundles as an element of GStreamer's pipelines."""
