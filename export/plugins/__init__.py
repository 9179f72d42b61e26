"""Operators that run as plugins or native kernels: their nodes, and their bodies in standard operators."""
