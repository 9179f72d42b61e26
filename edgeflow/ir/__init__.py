"""The language that compiler and runtime share: numpy and the standard library only."""
