"""The runtime: opens a bundle and runs it with numpy and one engine library."""

from edgeflow.ir.bundle import open_bundle as open_bundle
from edgeflow.runtime.session import Session as Session
from edgeflow.runtime.stream.budget import Budget as Budget
from edgeflow.runtime.stream.policy import Fixed as Fixed
from edgeflow.runtime.stream.policy import Mix as Mix
from edgeflow.runtime.stream.policy import Own as Own
from edgeflow.runtime.stream.policy import Quality as Quality
from edgeflow.runtime.stream.policy import Rules as Rules
from edgeflow.runtime.stream.trace import Result as Result
from edgeflow.runtime.stream.trace import Trace as Trace
