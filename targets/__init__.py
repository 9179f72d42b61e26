"""Targets: named device profiles, one TOML file each."""

from edgeflow.targets.target import OPERATOR_FORMS as OPERATOR_FORMS
from edgeflow.targets.target import Target as Target
from edgeflow.targets.target import load as load
from edgeflow.targets.target import names as names
from edgeflow.targets.target import numbers as numbers
