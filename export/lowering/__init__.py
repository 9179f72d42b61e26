"""Segments become ONNX graphs, and graphs of segments those of stages."""
