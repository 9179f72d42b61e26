"""What the doubles object to, and the faults that they are told to have."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Write a line where the C++ side of the doubles writes its own: the file DOUBLE_LOG, or stderr."""
    path = os.environ.get("DOUBLE_LOG")
    line = f"[{os.getpid()}] {text}\n"
    if path:
        with open(path, "a") as file:
            file.write(line)
    else:
        sys.stderr.write(line)


def violation(text: str) -> None:
    """Say that a rule of TensorRT was broken."""
    say(f"VIOLATION trt: {text}")


def faulty(kind: str, where: str) -> bool:
    """Whether DOUBLE_FAULT holds this kind, or `kind:PART` with a part of `where`; several are separated by commas."""
    for fault in filter(None, os.environ.get("DOUBLE_FAULT", "").split(",")):
        known, _, part = fault.partition(":")
        if known == kind and part in where:
            return True
    return False
