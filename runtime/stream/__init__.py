"""One stream of frames through a plan: decisions, batches, engines, states."""
