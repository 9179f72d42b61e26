"""Training: data, losses, curricula, checkpoints, evaluation."""
