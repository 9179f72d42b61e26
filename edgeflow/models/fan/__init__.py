"""FAN: one network for clips of any length.

Source: Zhang et al., Frame Adaptive Network: one network for many clip lengths (see `model`); released as the Frame
Flexible Network (CVPR 2023).
"""

from edgeflow.models.fan.model import FrameAdaptive as FrameAdaptive
from edgeflow.models.fan.model import Longest as Longest
from edgeflow.models.fan.presets import PRESETS as PRESETS
from edgeflow.models.fan.presets import build as build
from edgeflow.models.fan.ways import Cascade as Cascade
from edgeflow.models.fan.ways import SlidingWindow as SlidingWindow
