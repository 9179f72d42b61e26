"""ST-MFNet and ST-MFNet Mini: the frame between the middle two of four.

Source: Danier et al., ST-MFNet: A Spatio-Temporal Multi-Flow Network for Frame Interpolation (CVPR 2022); Morris et al., ST-MFNet Mini:
Knowledge Distillation-Driven Frame Interpolation (ICIP 2023).
"""

from edgeflow.models.st_mfnet.model import PRESETS as PRESETS
from edgeflow.models.st_mfnet.model import Interpolator as Interpolator
from edgeflow.models.st_mfnet.model import Pair as Pair
from edgeflow.models.st_mfnet.model import Preset as Preset
from edgeflow.models.st_mfnet.model import build as build
from edgeflow.models.st_mfnet.network import Sizes as Sizes
from edgeflow.models.st_mfnet.network import STMFNet as STMFNet
