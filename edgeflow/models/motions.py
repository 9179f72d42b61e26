"""The labels of the motions that recognition models are trained with here (`edgeflow.training.motion`)."""

MOTIONS = ("forward", "backward", "fast", "slow", "still", "zoom")
"""A window over a clip goes right at a walk, or left; right three times as fast, or as slowly; stays, its picture too; or shrinks."""
SIDE = 64
"""Height and width of their pictures, in pixels."""
