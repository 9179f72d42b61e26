"""RIFE (Huang et al., ECCV 2022), routed: the published network where it is needed."""

from edgeflow.models.rife.model import RIFE as RIFE
from edgeflow.models.rife.model import WholeFrame as WholeFrame
from edgeflow.models.rife.model import build as build
