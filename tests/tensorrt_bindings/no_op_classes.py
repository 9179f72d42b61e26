"""Writes no-op classes for the abstract ones that TensorRT's public headers declare: the doubles override what is called.

python no_op_classes.py NvInferImpl.h noop.h
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_CLASS = re.compile(r"class V(\w+) : public VRoot\s*\{(.*?)\n\};", re.DOTALL)
_METHOD = re.compile(r"(.*?)\b(\w+)\((.*)\)(\s*(?:const)?\s*(?:noexcept)?\s*)$")


def no_op_classes(header: str) -> Iterator[str]:
    """One class `N...` per virtual interface `V...`, each method of which logs that it is not modelled."""
    plain = re.sub(r"//[^\n]*", "", header)
    for name, body in _CLASS.findall(plain):
        yield f"class N{name} : public apiv::V{name} {{ public:"
        for declared in body.split(";"):
            text = " ".join(declared.split())
            if "virtual" in text and "= 0" in text:
                yield _method(name, re.sub(r"\s*= 0\s*$", "", re.sub(r"^.*?virtual ", "", text)))
        yield "};"


def _method(owner: str, declared: str) -> str:
    found = _METHOD.match(declared)
    assert found, declared
    made, name, arguments, qualifiers = found.groups()
    call = f'return dflt<{made.strip()}>("V{owner}::{name}");'
    return f"  {made} {name}({arguments}) {qualifiers} override {{ {call} }}"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text("#pragma once\n" + "\n".join(no_op_classes(source.read_text())) + "\n")
