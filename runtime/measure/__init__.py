"""What frames and engines take, and what became of the FLOPs saved."""
