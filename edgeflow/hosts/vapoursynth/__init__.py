"""Bundles as filters of VapourSynth's clips."""

from edgeflow.hosts.vapoursynth.filter import apply as apply
