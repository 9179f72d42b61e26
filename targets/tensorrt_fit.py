"""Whether a bundle can be finished on a device with the TensorRT that is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError
from edgeflow.ir.libraries import library
from edgeflow.targets.nvidia import Nvidia, sm
from edgeflow.targets.target import numbers

BF16_CAPABILITY = (8, 0)
"""Compute capability from which on devices have bfloat16 (NVIDIA's TensorRT support matrix, hardware and precision)."""
LEAST_BYTES = 512 << 20
"""Free memory below which TensorRT finds no tactics."""


def check_library(bundle: Bundle) -> None:
    """Refuse a bundle that is not for TensorRT.

    Raises:
        BackendError: says which target it is for.
    """
    target = bundle.manifest.target
    if library(target["library"]).builds != "engines":
        raise BackendError(
            f"bundle {bundle.path} is for {target['name']} ({target['library']}), which needs no build: run it, or "
            "export it with --target desktop-gpu or a Jetson's"
        )


def check_fits(bundle: Bundle, device: Nvidia, version: str) -> None:
    """Refuse a bundle that this device cannot finish.

    Raises:
        BackendError: says which target or release it is for, or how much memory is missing.
    """
    check_library(bundle)
    target = bundle.manifest.target
    oldest, newest = numbers(target["versions"][0]), numbers(target["versions"][-1])
    if not oldest <= numbers(version)[: len(oldest)] or numbers(version)[0] > newest[0]:
        first, last = target["versions"][0], target["versions"][-1]
        where = target.get("releases", {}).get(first, "a newer package")
        raise BackendError(
            f"TensorRT {version} is not among the releases that {target['name']} is for ({first} to {last}; {first} "
            f"comes with {where}): update it, or export for another target"
        )
    if reason := other_device(target, device):
        raise BackendError(
            f"{target['name']} {reason}: export for this device's own target (`edgeflow targets` lists them)"
        )
    _check_precision(target, device, version)
    if device.free_bytes < LEAST_BYTES:
        raise BackendError(
            f"{device.name} has {device.free_bytes >> 20} MB of memory free, a build needs {LEAST_BYTES >> 20} MB: "
            "close other programs, or stop the desktop"
        )


def other_device(target: Mapping[str, Any], device: Nvidia) -> str:
    """Why a board's target is not for a device; empty if it is. A desktop's is for every GPU."""
    if not target["unified_memory"] or device.compute_capability == target["compute_capability"]:
        return ""
    return (
        f"is for {sm(target['compute_capability'])}, this is {device.name} ({sm(device.compute_capability)})"
    )


def _check_precision(target: Mapping[str, Any], device: Nvidia, version: str) -> None:
    """Refuse a precision that this release or device does not have.

    Raises:
        BackendError: says what has it.
    """
    precision = target["precision"]
    first = target.get("since", {}).get(precision, "0")
    advice = "or export with --precision fp16"
    if numbers(version) < numbers(first):
        known = [release for release in target["versions"] if numbers(release) >= numbers(first)]
        brought = [target["releases"][release] for release in known if release in target.get("releases", {})]
        where = f" ({'; '.join(brought)})" if brought else ""
        raise BackendError(
            f"TensorRT {version} does not take {precision}, releases from {first} on do{where}: update it, {advice}"
        )
    if precision == "bf16" and numbers(device.compute_capability) < BF16_CAPABILITY:
        raise BackendError(
            f"{device.name} (compute capability {device.compute_capability}) has no bfloat16, devices from 8.0 on do: "
            f"use another device, {advice}"
        )
