"""What OpenVINO finds this processor to be able to do."""

import openvino as ov

HAS_BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
