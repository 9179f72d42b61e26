"""How edgeflow is installed: from a clone. On PyPI its name belongs to another project."""

from __future__ import annotations


def with_extras(*extras: str) -> str:
    """What to type for some of its extras.

    >>> with_extras("openvino", "report")
    'pip install -e ".[openvino,report]" in a clone of edgeflow'
    """
    return f'pip install -e ".[{",".join(extras)}]" in a clone of edgeflow'
