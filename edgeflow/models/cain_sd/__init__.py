"""CAIN-SD: frame interpolation that picks a scale and a depth for every tile.

Source: Choi et al., Motion-Aware Dynamic Architecture for Efficient Frame Interpolation (ICCV 2021).
"""

from edgeflow.models.cain_sd.model import CAINSD as CAINSD
from edgeflow.models.cain_sd.model import PRESETS as PRESETS
from edgeflow.models.cain_sd.model import Preset as Preset
from edgeflow.models.cain_sd.model import WholeFrame as WholeFrame
from edgeflow.models.cain_sd.model import build as build
