"""Plans: which engines run, for which regions, in which order."""

from edgeflow.ir.plan.plan import COUNTED_AT as COUNTED_AT
from edgeflow.ir.plan.plan import EXACT as EXACT
from edgeflow.ir.plan.plan import MEAN as MEAN
from edgeflow.ir.plan.plan import Chain as Chain
from edgeflow.ir.plan.plan import Plan as Plan
from edgeflow.ir.plan.plan import Port as Port
from edgeflow.ir.plan.plan import Stage as Stage
from edgeflow.ir.plan.plan import StageGraph as StageGraph
from edgeflow.ir.plan.plan import Step as Step
