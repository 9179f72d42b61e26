"""Static networks as routed ones, without training: only what is not what it was is computed again.

`wrap` takes a module and a clip and returns an ordinary flow, which the ordinary exporter compiles.
"""

from edgeflow.wrap.tune import Tuned as Tuned
from edgeflow.wrap.wrapping import wrap as wrap
