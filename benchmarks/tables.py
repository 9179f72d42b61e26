"""Writes docs/benchmarks.md from the committed results.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from records import RESULTS

from edgeflow.runtime.machine import in_words

Record = dict[str, Any]
Column = tuple[str, Callable[[Record], str]]
Section = tuple[str, str, str, list[Column]]
"""Name of the results, of one kind of them after a colon; title; how they were measured; columns."""

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Made by `python benchmarks/tables.py` from `benchmarks/results/*.json`; each section names the command
that measured it. Times are wall clock. Nothing here ran on TensorRT or on a GPU.

"""

STEPS = (
    "useful FLOPs",
    "router FLOPs",
    "halo FLOPs",
    "padding FLOPs",
    "slower router",
    "slower convolutions",
    "other operators",
    "launches",
    "forming batches",
    "tiles",
    "everything else",
)
"""Steps of the waterfall."""


RANKS = ("small", "full", "chained", "routes", "auto", "fp32", "bf16", "int8")
"""Presets, plans and precisions, in the order of rows."""


def _place(record: Record) -> tuple[Any, ...]:
    """Where a record's row stands; records that say none of this stay in the order in which they were made."""
    preset, precision, plan = (
        RANKS.index(named) if named in RANKS else -1
        for named in (record.get(what, "").split(",")[0] for what in ("preset", "precision", "plan"))
    )
    width, _, height = record.get("size", "0x0").partition("x")
    pixels, threads = int(width) * int(height), record.get("threads", 0)
    built = record.get("plan", "").endswith("built")
    return (
        preset,
        precision,
        record.get("in_flight", 1),
        pixels,
        threads,
        record.get("backend", ""),
        built,
        plan,
    )


def _step(record: Record, name: str) -> str:
    return f"{record['steps'][name]:.1f}"


SECTIONS: list[Section] = [
    (
        "realisation",
        "Realisation: how much of the FLOP saving becomes a time saving",
        "`python benchmarks/realisation.py --clip CLIP`. realisation = (full ms / routed ms) / (full FLOPs / "
        "routed FLOPs); full is the static model in its faster form; routed is the whole call. One process, "
        "in turn, frame by frame, medians; in brackets the 10th and 90th percentile of the ratio of single frames. "
        "Overhead is the call over the sum of its engines. Where several frames are in flight, those of the full "
        "model are too, and times are of blocks of frames over their number. Routes are the router's own, or a fixed mix like the "
        "paper's (`benchmarks/mixes.py`) where the weights are random.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("routes", lambda r: r["mix"]),
            ("clip", lambda r: f"{r['clip']} {r['size']}"),
            ("library", lambda r: r["backend"]),
            ("precision", lambda r: r["precision"]),
            ("plan", lambda r: r["plan"]),
            ("in flight", lambda r: str(r["in_flight"])),
            ("full ms", lambda r: f"{r['full_ms']:.0f} ({r['full_form']})"),
            ("routed ms", lambda r: f"{r['routed_ms']:.0f}"),
            ("eager ms", lambda r: f"{r['eager_ms']:.0f}"),
            ("GFLOP full / routed", lambda r: f"{r['flops_full'] / 1e9:.1f} / {r['flops_routed'] / 1e9:.1f}"),
            ("FLOPs saved", lambda r: f"{r['flops_saved']:.2f}x"),
            ("time saved", lambda r: f"{r['speedup']:.2f}x"),
            ("realisation", lambda r: f"**{r['realisation']:.2f}**{_spread(r)}"),
            ("overhead", lambda r: f"{r['dispatch_overhead']:.3f}" if r["dispatch_overhead"] else "-"),
        ],
    ),
    (
        "waterfall",
        "Where a routed frame's time goes",
        "`python benchmarks/waterfall.py --clip CLIP`. Milliseconds of a mean frame. At the full static model's rate "
        "the FLOPs of the first four would take that long; the others are what the routed frame takes beyond "
        "that (less than nothing where it does better), and all add up to its time. Straightforward: an engine per "
        "segment, a tile a run, no rewrites. Planned: `--plan auto`.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("library", lambda r: r["backend"]),
            ("build", lambda r: r["build"]),
            ("full ms", lambda r: f"{r['full_ms']:.0f}"),
            ("routed ms", lambda r: f"{r['routed_ms']:.0f}"),
            *((name, partial(_step, name=name)) for name in STEPS),
            ("realisation", lambda r: f"**{r['realisation']:.2f}**"),
        ],
    ),
    (
        "parity",
        "Parity: engines and whole frames against the eager model",
        "`python benchmarks/parity.py --clip CLIP`. Largest error of an image before rounding, on [0, 1]; lowest "
        "PSNR of a frame; decisions that differ.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("engines", lambda r: str(r["engines"])),
            ("image error", lambda r: f"{r['image_max_error']:.1e}"),
            ("frames", lambda r: str(r["frames"])),
            ("PSNR", lambda r: f"{r['psnr_db']:.1f} dB"),
            ("route flips", lambda r: f"{r['route_flips']} of {r['decisions']}"),
        ],
    ),
    (
        "operators",
        "Operators: each form on each engine library",
        "`python benchmarks/operators.py`. All forms of a library in turn, round by round, in one process; medians, in "
        "brackets the 10th and 90th percentile. The kernel is Numba's, with the library's number of threads; "
        "between two convolutions it meets the library's own workers, which may still be spinning. Load is the "
        "machine's load average: above its threads, other programs had a share, and only ratios mean something.",
        [
            ("operator", lambda r: r["operator"]),
            ("shape", lambda r: r["shape"]),
            ("form", lambda r: r["form"]),
            ("library", lambda r: r["backend"]),
            ("ms", lambda r: f"{r['median_ms']:.1f} ({r['p10_ms']:.1f} to {r['p90_ms']:.1f})"),
            ("load", lambda r: f"{r['load']:.1f}"),
        ],
    ),
    (
        "shortcut_costs",
        "Shortcut-V2V: what a frame costs (the paper's Tables 1 and 4)",
        "`python benchmarks/shortcut_costs.py`. Counted, nothing is run. In the paper's rule (thop's) deformable "
        "convolutions are free and a transposed convolution costs four times its work; the true counts are all "
        "multiply-accumulates of convolutions and matrix products. The mean is over a key interval.",
        [
            ("task", lambda r: r["task"]),
            ("dependence", lambda r: r["dependence"]),
            ("teacher GMAC, paper", lambda r: f"{r['published']['teacher_gmacs']:.2f}"),
            ("counted", lambda r: f"{r['paper_teacher_gmacs']:.2f}"),
            ("shortcut GMAC, paper", lambda r: f"{r['published']['shortcut_gmacs']:.2f}"),
            ("counted", lambda r: f"{r['paper_shortcut_gmacs']:.2f}"),
            ("M parameters, paper", lambda r: f"{r['published']['shortcut_mparams']:.2f}"),
            ("counted", lambda r: f"{r['paper_shortcut_mparams']:.2f}"),
            ("true teacher", lambda r: f"{r['teacher_gmacs']:.2f}"),
            ("true shortcut", lambda r: f"{r['shortcut_gmacs']:.2f}"),
            ("true mean", lambda r: f"{r['mean_gmacs']:.2f} (every {r['interval']})"),
            ("saved", lambda r: f"{r['saved']:.2f}x"),
        ],
    ),
    (
        "shortcut_realisation",
        "Shortcut-V2V: time of a frame, realisation, parity of a stream",
        "`python benchmarks/shortcut_realisation.py --clip CLIP`. The full model is the teacher alone on every frame, in "
        "its faster form; times of the routed model are medians over whole key intervals. Realisation as above, in "
        "brackets over single intervals. Error: the worst of a stream's pictures against eager, before rounding; "
        "in brackets of its first and its last third.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']} {r['variant']}"),
            ("clip", lambda r: f"{r['clip']} {r['size']}"),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("threads", lambda r: str(r["threads"])),
            ("teacher ms", lambda r: f"{r['full_ms']:.1f}"),
            ("key / shortcut ms", lambda r: f"{r['key_ms']:.1f} / {r['shortcut_ms']:.1f}"),
            ("mean ms", lambda r: f"{r['routed_ms']:.1f}"),
            ("eager ms", lambda r: f"{r['eager_ms']:.1f}"),
            ("FLOPs saved", lambda r: f"{r['flops_saved']:.2f}x"),
            ("time saved", lambda r: f"{r['speedup']:.2f}x"),
            ("realisation", lambda r: f"**{r['realisation']:.2f}**{_spread(r)}"),
            (
                "error",
                lambda r: (
                    f"{r['stream_error']:.1e} in {r['frames']} frames "
                    f"({r['stream_error_first']:.1e}, {r['stream_error_last']:.1e})"
                ),
            ),
            ("weights", lambda r: f"{r['weight_file_bytes'] / 1e6:.2f} MB ({r['weight_ratio']:.3f}x)"),
        ],
    ),
    (
        "shortcut_v2v_quality",
        "Shortcut-V2V: quality of shortcut frames",
        "`python benchmarks/quality.py --family shortcut-v2v --data FOLDER`. Shortcut frames against the teacher's frames, beside copying "
        "the last key frame's picture (which decoding its feature again gives too). Change: from frame to frame, over the "
        "teacher's; flicker: what differs from the teacher's change, in levels of 255. Clips that training saw are scored on "
        "their last fifth.",
        [
            ("clip", lambda r: r["clip"] + (" (held out)" if r["held_out"] else "")),
            ("frames", lambda r: str(r["frames"])),
            ("shortcut PSNR / SSIM", lambda r: _likeness(r["shortcut"])),
            ("copied PSNR / SSIM", lambda r: _likeness(r["copied"])),
            ("change", lambda r: f"{r['shortcut']['change']:.2f}, copied {r['copied']['change']:.2f}"),
            ("flicker", lambda r: f"{r['shortcut']['flicker']:.2f}, copied {r['copied']['flicker']:.2f}"),
            ("teacher to clip", lambda r: f"{r['teacher_psnr']:.2f} dB"),
        ],
    ),
    (
        "shortcut_policy:measure",
        "Shortcut-V2V: what predicts the error of a shortcut frame",
        "`python benchmarks/shortcut_policy.py --data FOLDER`. Rank correlation (Spearman's) with the squared error against "
        "the teacher's frame, over key frames 1 to 12 frames old.",
        [
            ("measure", lambda r: r["measure"]),
            ("over all clips", lambda r: f"{r['together']:.2f}"),
            ("within a clip (median)", lambda r: f"{r['within']:.2f}"),
        ],
    ),
    (
        "shortcut_policy:policy",
        "Shortcut-V2V: fixed key intervals against key frames on drift, at equal cost",
        "`python benchmarks/shortcut_policy.py --data FOLDER`. One threshold for all clips, such that all together take no "
        "more key frames than the fixed interval does. PSNR of all frames against the teacher's, key frames included.",
        [
            ("interval", lambda r: str(r["interval"])),
            ("measure", lambda r: r["measure"]),
            ("threshold", lambda r: f"{r['threshold']:.3f}"),
            (
                "key frames fixed / adaptive",
                lambda r: f"{r['keys_fixed']} / {r['keys_adaptive']} of {r['frames']}",
            ),
            ("PSNR fixed", lambda r: f"{r['psnr_fixed']:.2f} dB"),
            ("PSNR adaptive", lambda r: f"{r['psnr_adaptive']:.2f} dB"),
            ("worst frame", lambda r: f"{r['worst_fixed']:.1f}, adaptive {r['worst_adaptive']:.1f} dB"),
            ("clips it is better on", lambda r: f"{r['better_clips']} of {len(r['clips'])}"),
        ],
    ),
    (
        "bundle_size",
        "Bundle size and export time",
        "`python benchmarks/bundle_size.py --preset PRESET`. All 15 routes, landscape and portrait frames.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("plan", lambda r: r["plan"]),
            ("graphs", lambda r: str(r["graphs"])),
            ("unique weights", lambda r: f"{r['unique_weight_bytes'] / 1e6:.2f} MB"),
            ("weight file", lambda r: f"{r['weight_file_bytes'] / 1e6:.2f} MB ({r['weight_ratio']:.3f}x)"),
            ("graph files", lambda r: f"{r['graph_bytes'] / 1e6:.2f} MB"),
            ("goldens", lambda r: f"{r['golden_bytes'] / 1e6:.2f} MB"),
            ("export", lambda r: f"{r['export_seconds']:.0f} s{_parts(r)}"),
        ],
    ),
    (
        "cold_start",
        "Cold start",
        "`python benchmarks/cold_start.py BUNDLE`. Fresh processes, medians of 5; engines for 1280x720.",
        [
            ("bundle", lambda r: r["bundle"]),
            ("library", lambda r: r["backend"]),
            ("import beyond numpy", lambda r: f"{r['import_ms']:.0f} ms"),
            ("torch loaded", lambda r: "yes" if r["torch_loaded"] else "no"),
            ("open and verify", lambda r: f"{r['open_ms']:.0f} ms"),
            ("load engines", lambda r: f"{r['load_engines_ms']:.0f} ms"),
            ("first frame", lambda r: f"{r['first_frame_ms']:.0f} ms"),
        ],
    ),
    (
        "peers",
        "Other ways to run the same routed model",
        "`python benchmarks/peers.py --clip CLIP`. One process, in turn, frame by frame, medians; all take the same "
        "routes, and their pictures equal the eager ones. `eager` and `compiled` (torch.compile of every segment "
        "variant) batch the tiles of a route; `nested-if` is one ONNX model with `If` per tile (its branches share weights or have their own); `unbatched` is "
        "edgeflow's chain at batch 1; `full` is the static model without routes. Ratios are to the fastest "
        "edgeflow of the same library (for torch, of any).",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("clip", lambda r: f"{r['clip']} {r['size']}"),
            ("threads", lambda r: str(r["threads"])),
            ("way", lambda r: r["peer"]),
            ("library", lambda r: r["backend"]),
            ("ms per frame", lambda r: f"{r['ms']:.0f}" if "ms" in r else f"not run: {_reason(r)}"),
            ("of edgeflow's", lambda r: f"{r['times_edgeflow']:.2f}x" if "times_edgeflow" in r else "-"),
            ("ready in", lambda r: f"{r['ready_seconds']:.1f} s" if "ms" in r else "-"),
            ("PSNR to eager", lambda r: f"{r['psnr_db']:.0f} dB" if "ms" in r else "-"),
        ],
    ),
    (
        "memory",
        "Memory and load time",
        "`python benchmarks/memory.py --clip CLIP`. Resident memory (Pss; the peak is of Rss) beyond the imported libraries, in fresh processes, "
        "medians: after loading, after frames that together take every route, after each route was taken by all "
        "tiles at once (the largest batches); in brackets the ratio to the full static model.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("size", lambda r: r["size"]),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("engines loaded", lambda r: _memory(r, "loaded")),
            ("every route", lambda r: _memory(r, "mixed")),
            ("largest batches", lambda r: _memory(r, "largest")),
            ("peak", lambda r: _memory(r, "peak")),
            ("load", lambda r: f"{r['load_seconds']:.2f} s ({r['load_ratio']:.1f}x)"),
        ],
    ),
    (
        "scaling:size",
        "Frame sizes and threads",
        "`python benchmarks/scaling.py --clip CLIP`. As the first table; the clip is resized.",
        [
            ("model", lambda r: f"{r['family']} {r['preset']}"),
            ("size", lambda r: f"{r['size']}, {r['tiles']} tiles"),
            ("threads", lambda r: str(r["threads"])),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("full ms", lambda r: f"{r['full_ms']:.0f} ({r['full_form']})"),
            ("routed ms", lambda r: f"{r['routed_ms']:.0f}"),
            ("FLOPs saved", lambda r: f"{r['flops_saved']:.2f}x"),
            ("time saved", lambda r: f"{r['speedup']:.2f}x"),
            ("realisation", lambda r: f"**{r['realisation']:.2f}**{_spread(r)}"),
            ("overhead", lambda r: f"{r['dispatch_overhead']:.3f}"),
        ],
    ),
    (
        "scaling:routes",
        "Number of routes",
        "`python benchmarks/scaling.py --clip CLIP`. CAIN-SD of the tiny preset with more scales and exits "
        "(`benchmarks/many_routes.py`); every route is taken by an equal share of the tiles. Dispatch is the call "
        "less its engines.",
        [
            ("routes", lambda r: str(r["routes_offered"])),
            ("size", lambda r: f"{r['size']}, {r['tiles']} tiles"),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("graphs", lambda r: str(r["graphs"])),
            (
                "weights / graphs",
                lambda r: f"{r['weight_bytes'] / 1e6:.2f} / {r['graph_bytes'] / 1e6:.2f} MB",
            ),
            ("export", lambda r: f"{r['export_seconds']:.0f} s"),
            ("load", lambda r: f"{r['load_seconds']:.2f} s"),
            ("engine runs", lambda r: f"{r['engine_runs']:.0f}"),
            ("routed ms", lambda r: f"{r['routed_ms']:.0f}"),
            ("dispatch", lambda r: f"{r['dispatch_ms']:.1f} ms"),
            ("overhead", lambda r: f"{r['dispatch_overhead']:.3f}"),
        ],
    ),
    (
        "fan",
        "FAN: every clip length against the plain network of that length",
        "`python benchmarks/fan.py --preset tiny` and `--preset tsm-r50 --clips 5`. One process, one thread, in turn, clip by clip, medians of processor time, since "
        "other programs shared the machine; over plain is the median of the ratio of single clips. Realisation is against the plain network of 16 frames, which reads every clip as 16. The largest error and changed "
        "routes are against the eager model. Bytes are of the weights of all three lengths over those of one network. "
        "Resident is what a fresh process holds (Pss) beyond the library that has run a clip of each of the three lengths, the same after `edgeflow build`, and one that has run the plain network of that row's length.",
        [
            ("model", lambda r: f"{r['preset']}, {'trained' if r['trained'] else 'random'}"),
            ("library", lambda r: r["library"]),
            ("frames", lambda r: str(r["frames"])),
            ("GMAC", lambda r: f"{r['flops'] / 2e9:.3f}"),
            ("ms", lambda r: f"{r['routed_ms']:.2f}"),
            ("clips a second", lambda r: f"{r['clips_per_second']:.1f}"),
            ("plain ms", lambda r: f"{r['plain_ms']:.2f}"),
            ("over plain", lambda r: f"{r['over_plain']:.2f}"),
            ("16 frames, plain ms", lambda r: f"{r['longest_ms']:.2f}"),
            ("realisation", lambda r: f"**{r['realisation']:.2f}**"),
            ("eager ms", lambda r: f"{r['eager_ms']:.1f}"),
            ("torch.compile ms", lambda r: f"{r['compiled_ms']:.1f}" if "compiled_ms" in r else "-"),
            ("largest error", lambda r: f"{r['max_error']:.0e}"),
            ("changed routes", lambda r: str(r["flips"])),
            ("weights", lambda r: f"{r['weight_bytes'] / 1e6:.2f} MB ({r['size_ratio']:.3f}x)"),
            (
                "resident MB: three lengths, built, plain",
                lambda r: (
                    f"{r['resident_mb']:.0f}, {r['built_resident_mb']:.0f}, {r['plain_resident_mb']:.0f}"
                ),
            ),
        ],
    ),
    (
        "deadline",
        "Deadlines",
        "`python benchmarks/deadline.py BUNDLE CLIP`. The model's own routes, a budget, and fixed shares of two routes with the budget's mean "
        "FLOPs; in the second half two other processes compute. The budget is the median of the model's own calls before that; `within` is the "
        "share of calls that hold it, of all, and in brackets of those that the cheapest route could have held; `held again` counts calls after the load "
        "came until 20 in succession are in time; `changes` is how much FLOPs differ from call to call, over their mean. PSNR is against the "
        "pictures of the model's own routes. The machine's two cores served other work as well.",
        [
            ("model", lambda r: r["family"]),
            ("clip", lambda r: f"{r['clip']} {r['size']}"),
            ("library", lambda r: r["library"]),
            ("calls", lambda r: str(r["calls"])),
            ("own ms, without and with load", lambda r: f"{r['own_ms']:.0f} / {r['own_loaded_ms']:.0f}"),
            ("budget", lambda r: f"{r['budget_ms']:.0f} ms, p{r['percentile']:g}"),
            ("within: own", lambda r: f"{r['own_within']:.1%}"),
            (
                "within: budget",
                lambda r: f"**{r['within']:.1%}** ({r['within_possible']:.1%} of {r['possible']:.1%})",
            ),
            ("within: fixed", lambda r: f"{r['mix_within']:.1%}"),
            ("held again", lambda r: str(r["until_held"])),
            ("FLOPs over own", lambda r: f"{r['flops_share']:.2f}"),
            ("dB: budget", lambda r: f"**{r['psnr']:.1f}**"),
            ("dB: fixed", lambda r: f"{r['mix_psnr']:.1f}"),
            ("changes: budget / own", lambda r: f"{r['swing']:.2f} / {r['own_swing']:.2f}"),
        ],
    ),
    (
        "fan_policy",
        "FAN: how many frames to look at, right against cost",
        "`python benchmarks/fan_policy.py --data DIR --hold-out CLIP`. Motions of clips that training did not see. `frames there are` "
        "gives each clip 1 to 16 frames; `within` has so many times the median call of 4 frames; `cascade` looks on where the probability of "
        "the first label is below its number.",
        [
            ("model", lambda r: r["preset"]),
            ("library", lambda r: r["library"]),
            ("policy", lambda r: r["policy"]),
            ("right", lambda r: f"{r['right']:.1%} of {r['clips']}"),
            ("MFLOP", lambda r: f"{r['flops'] / 1e6:.0f}"),
            ("ms, median / mean", lambda r: f"{r['ms']:.2f} / {r['mean_ms']:.2f}"),
            ("routes", lambda r: ", ".join(f"{route}: {n}" for route, n in r["routes"].items())),
        ],
    ),
    (
        "st_mfnet:alone",
        "ST-MFNet against its Mini",
        "`python benchmarks/st_mfnet.py --clip CLIP --preset PRESET --size SIZE --memory-budget MB`. Whole frames, one process, in turn, medians; in bands is "
        "the mini whose tensors are held to that budget. Memory as counted, and in brackets what a process measures that runs two pictures. "
        "PSNR is of one picture before rounding, against PyTorch's. The paper's GPU takes 0.901 s for the large one and 0.588 s for the Mini: 1.53 times. "
        "full and mini have random weights.",
        [
            ("model", lambda r: r["preset"]),
            ("size", lambda r: r["size"]),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("full ms", lambda r: f"{r['ms']['full']:.0f}"),
            ("mini ms", lambda r: f"{r['ms']['mini']:.0f}"),
            ("full / mini", lambda r: f"**{r['full_over_mini']:.2f}x**"),
            ("GFLOP", lambda r: f"{r['gflops']['full']:.1f} / {r['gflops']['mini']:.1f}"),
            ("mini in bands ms", lambda r: _banded_ms(r)),
            ("PyTorch ms", lambda r: _eager_pair(r)),
            ("MB: full", lambda r: _held(r["peak_mb"]["full"])),
            ("mini", lambda r: _held(r["peak_mb"]["mini"])),
            ("in bands", lambda r: _held(r["peak_mb"].get("mini in bands"))),
            ("budget", lambda r: f"{r['budget_mb']:g} MB" if r["budget_mb"] else "-"),
            ("PSNR", lambda r: f"{min(r['parity_db'].values()):.0f} dB"),
        ],
    ),
    (
        "st_mfnet:pair",
        "ST-MFNet's pair: realisation under a fixed mix",
        "`python benchmarks/st_mfnet.py --clip CLIP`. A quarter of the tiles take the larger network. Realisation is times over FLOPs against the pair with all tiles "
        "on the larger network, and against that network on whole frames, which has no halos. Own: as the router says.",
        [
            ("model", lambda r: r["preset"]),
            ("size", lambda r: r["size"]),
            ("library", lambda r: r["backend"]),
            ("plan", lambda r: r["plan"]),
            ("mixed ms", lambda r: f"{r['ms']['mixed']:.0f}"),
            ("all full ms", lambda r: f"{r['ms']['all full']:.0f}"),
            ("all mini ms", lambda r: f"{r['ms']['all mini']:.0f}"),
            ("own ms", lambda r: f"{r['ms']['own']:.0f}"),
            ("whole frame ms", lambda r: f"{r['ms']['whole']:.0f}"),
            (
                "GFLOP: mixed / all full / whole",
                lambda r: " / ".join(f"{r['gflops'][name]:.1f}" for name in ("mixed", "all full", "whole")),
            ),
            (
                "realisation",
                lambda r: f"**{r['realisation']['all full']:.2f}** ({r['realisation']['whole']:.2f})",
            ),
            ("MB", lambda r: _held(r["peak_mb"])),
        ],
    ),
    (
        "st_mfnet:form",
        "AdaCoF and splatting: their forms",
        "`python benchmarks/st_mfnet.py --clip CLIP`. AdaCoF of 25 taps and splatting at 224x128, in turn, medians of ten. Reading its kernels once is a bound of "
        "what any form of AdaCoF can reach.",
        [
            ("operator", lambda r: r["operator"]),
            ("form", lambda r: r["form"]),
            ("library", lambda r: r["backend"]),
            ("ms", lambda r: f"{r['ms']:.2f}"),
        ],
    ),
    (
        "wrap",
        "Wrapped networks",
        "`python benchmarks/wrap.py MODEL CLIP...`: networks as they are, in `examples/`. Routes are tuned on a clip's first frames and measured on as many that "
        "follow. Wrapped and plain (whole frames) run in one process on one library, in turn; PyTorch eager after that. Medians of a call in ms; times as fast over "
        "all calls, in brackets the slowest one; quality in dB against the plain network, over all pictures and of the worst; the drop is against the truth where "
        "noise was added to it, else what that quality comes to of a network 35 dB from the truth; steps of the error across the borders of tiles and elsewhere in levels of 255.",
        [
            ("network", lambda r: r["model"]),
            (
                "clip",
                lambda r: (
                    f"{r['clip']} {r['size']}"
                    + (f", noise {r['noise']:g}" if r["noise"] else "")
                    + (", every frame twice" if r.get("twice") else "")
                ),
            ),
            ("library", lambda r: r["backend"]),
            (
                "plain",
                lambda r: (
                    f"{r['static_ms']:.0f}"
                    if "static_ms" in r
                    else f"refused: {r['refused'].partition('(')[0]}"
                ),
            ),
            ("eager", lambda r: f"{r['eager_ms']:.0f}" if "eager_ms" in r else ""),
            ("wrapped", lambda r: f"{r['routed_ms']:.0f}" if "routed_ms" in r else ""),
            (
                "as fast",
                lambda r: f"**{r['speed_up']:.2f}x** ({r['slowest']:.2f}x)" if "speed_up" in r else "",
            ),
            (
                "tiles",
                lambda r: ", ".join(f"{way} {share:.0%}" for way, share in r.get("shares", {}).items()),
            ),
            ("PSNR (worst)", lambda r: f"{r['psnr']:.1f} ({r['worst_psnr']:.1f})" if "psnr" in r else ""),
            ("drop", lambda r: f"{r['drop']:.3f} of {r['max_drop']:g}" if "drop" in r else ""),
            ("steps", lambda r: f"{r['seams']:.2f} / {r['elsewhere']:.2f}" if "seams" in r else ""),
        ],
    ),
]


def _spread(record: Record) -> str:
    """Spread of the realisation over frames; records made before it was measured have none."""
    if "realisation_p10" not in record:
        return ""
    return f" ({record['realisation_p10']:.2f} to {record['realisation_p90']:.2f})"


def _parts(record: Record) -> str:
    """What most of an export took; records made before that was measured do not say."""
    parts = sorted(record.get("seconds_by_part", {}).items(), key=lambda part: -part[1])[:3]
    return ": " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts) if parts else ""


def _held(peak: Record | None) -> str:
    """Memory as counted and as measured, in MB."""
    return f"{peak['counted']:.0f} ({peak['measured']:.0f})" if peak else "-"


def _banded_ms(record: Record) -> str:
    return f"{record['ms']['mini in bands']:.0f}" if "mini in bands" in record["ms"] else "-"


def _eager_pair(record: Record) -> str:
    """PyTorch's times of both networks, where they were taken."""
    ms = record["ms"]
    return f"{ms['eager full']:.0f} / {ms['eager mini']:.0f}" if "eager full" in ms else "-"


def _likeness(score: Record) -> str:
    return f"{score['psnr']:.2f} / {score['ssim']:.4f}"


def _memory(record: Record, reading: str) -> str:
    return f"{record[f'{reading}_mb']:.0f} MB ({record[f'{reading}_ratio']:.2f}x)"


def _reason(record: Record) -> str:
    return str(record["error"]).splitlines()[0][:120].replace("|", "/")


def main() -> None:
    parts = [HEAD]
    notes, others = _written_by_hand(PAGE.read_text(), {title for _, title, _, _ in SECTIONS})
    for name, title, how, columns in SECTIONS:
        file, _, kind = name.partition(":")
        path = RESULTS / f"{file}.json"
        if not path.exists():
            continue
        records = [r for r in json.loads(path.read_text()) if r.get("kind", "") == kind]
        if not records:
            continue
        table = _table(sorted(records, key=_place), columns)
        note = notes.get(title, "")
        parts.append(
            f"## {title}\n\n{how}\n\n{table}\n{_machines(records)}\n" + (f"{note}\n\n" if note else "")
        )
        parts += others.get(title, [])
    PAGE.write_text("\n".join(parts).rstrip() + "\n")


def _written_by_hand(page: str, made: Collection[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """What people wrote on the page: notes under a made section's last line, and sections of their own, by the made one before."""
    notes: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    last = ""
    for section in re.split(r"(?m)^## ", page)[1:]:
        title, _, body = section.partition("\n")
        if title not in made:
            others.setdefault(last, []).append(f"## {title}\n{body.rstrip()}\n\n")
            continue
        last = title
        _, measured, after = body.rpartition("\nMeasured on: ")
        notes[title] = after.partition("\n")[2].strip() if measured else ""
    return notes, others


def _table(records: Sequence[Record], columns: Sequence[Column]) -> str:
    lines = ["| " + " | ".join(name for name, _ in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(read(record) for _, read in columns) + " |" for record in records]
    return "\n".join(lines) + "\n"


def _machines(records: Sequence[Record]) -> str:
    found = {
        f"{_processor(r['machine'])}, {r['machine']['threads']} threads; "
        + ", ".join(f"{k} {v}" for k, v in r["versions"].items() if k in ("onnxruntime", "openvino", "torch"))
        + f"; {r['date']}"
        for r in records
    }
    return "Measured on: " + "; ".join(sorted(found)) + ".\n"


def _processor(machine: Mapping[str, Any]) -> str:
    """Its name, and its instruction sets where the record names them: those before December 2026 do not."""
    sets = machine.get("instructions")
    return f"{machine['cpu']} ({in_words(sets)})" if sets else str(machine["cpu"])


if __name__ == "__main__":
    main()
