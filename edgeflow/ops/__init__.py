"""Operators that models share, one file each: a function, its plain-torch reference, its counts."""
