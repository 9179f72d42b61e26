"""The flow: a model's routing, stated once, with four interpreters.

eager runs it (the reference), train makes it differentiable, cost counts it, trace records it.
"""

from edgeflow.flow.cost import Cost as Cost
from edgeflow.flow.cost import cost as cost
from edgeflow.flow.eager import Eager as Eager
from edgeflow.flow.flow import Flow as Flow
from edgeflow.flow.flow import Scored as Scored
from edgeflow.flow.module import RoutedModule as RoutedModule
from edgeflow.flow.trace import trace as trace
from edgeflow.flow.train import Training as Training
from edgeflow.ir.program import Clip as Clip
from edgeflow.ir.program import Image as Image
from edgeflow.ir.program import Tensor as Tensor
from edgeflow.ir.route import Axis as Axis
from edgeflow.ir.rules import Argmax as Argmax
from edgeflow.ir.rules import ConfidenceBelow as ConfidenceBelow
from edgeflow.ir.rules import DriftAbove as DriftAbove
from edgeflow.ir.rules import FirstNonZero as FirstNonZero
from edgeflow.ir.rules import KeyFrameInterval as KeyFrameInterval
from edgeflow.ir.rules import Nearest as Nearest
from edgeflow.ir.rules import Priced as Priced
from edgeflow.ir.rules import Spread as Spread
from edgeflow.ir.rules import Table as Table
from edgeflow.ir.task import Made as Made
from edgeflow.ir.task import Task as Task
