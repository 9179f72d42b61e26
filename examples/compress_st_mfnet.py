"""ST-MFNet `tiny` and clips to learn from: CLIPS=folder edgeflow compress examples/compress_st_mfnet.py:build -o mini.safetensors --keep motion.

`--keep motion` leaves its flow estimator as it is; without it, that becomes smaller too, and goes if the sparse phase leaves nothing of it.
"""

import os
from pathlib import Path

import numpy as np

from edgeflow.models import family
from edgeflow.models.st_mfnet.model import build as untrained
from edgeflow.models.weights import load_weights
from edgeflow.training.data import load_clips
from edgeflow.training.samples import Samples, Window
from edgeflow.training.st_mfnet import load_motion, start


def build():
    model, weights = untrained("tiny"), family("st-mfnet").weights("tiny")
    if weights:
        load_weights(model, weights)
    else:
        start(model.network)
        load_motion(model.network)
    # The flow estimator sees farther than a crop: what it learns of small ones spoils whole frames.
    model.network.motion.requires_grad_(False)
    return model.network


def batches(count=2, crop=64):
    """Windows of four frames, and the one in the middle, which was left out."""
    folder = Path(os.environ["CLIPS"])
    clips = load_clips(folder, Path(os.environ.get("CACHE", folder / ".decoded"))).training
    samples = Samples(clips, crop, np.random.default_rng(0), Window)
    while True:
        frame0, frame1, target, frame2, frame3 = samples.crops(count).contiguous()
        yield (frame0, frame1, frame2, frame3), target
