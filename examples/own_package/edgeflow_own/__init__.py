"""What `pyproject.toml` names as edgeflow's entry points: one file for each thing."""

from pathlib import Path

WORKBENCH = Path(__file__).with_name("workbench.toml")
"""A target: a machine without any engine library, where ONNX's own reference runs the graphs."""
