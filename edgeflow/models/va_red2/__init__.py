"""VA-RED2: a decision before every convolution on how much of it is computed and how much is rebuilt.

Source: Pan et al., VA-RED2: Video Adaptive Redundancy Reduction (ICLR 2021). Its authors published no code.
"""

from edgeflow.models.va_red2.model import PRESETS, build
from edgeflow.models.va_red2.network import Plain, Reduced

__all__ = ["PRESETS", "Plain", "Reduced", "build"]
