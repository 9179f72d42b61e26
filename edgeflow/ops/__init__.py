"""Operators that models share, one file each, in plain torch."""
