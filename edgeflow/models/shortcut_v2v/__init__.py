"""Shortcut-V2V: video translation that recomputes most of a generator only now and then.

Source: Chung et al., Shortcut-V2V: Compression Framework for Video-to-Video Translation based on Temporal
Redundancy Reduction (ICCV 2023).
"""

from edgeflow.models.shortcut_v2v.model import CUTS as CUTS
from edgeflow.models.shortcut_v2v.model import PRESETS as PRESETS
from edgeflow.models.shortcut_v2v.model import ShortcutV2V as ShortcutV2V
from edgeflow.models.shortcut_v2v.model import Teacher as Teacher
from edgeflow.models.shortcut_v2v.model import build as build
