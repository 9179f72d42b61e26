"""Operators that compute each element of the same elements of their inputs."""

ELEMENTWISE = frozenset(
    [
        "Abs",
        "Add",
        "Ceil",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "PRelu",
        "Reciprocal",
        "Relu",
        "Round",
        "Sigmoid",
        "Sqrt",
        "Sub",
        "Tanh",
    ]
)
"""ONNX's names. Such an operator may write over an input of the same size that nothing reads after it; engines fuse most of them into what is before."""
