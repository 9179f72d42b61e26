"""Reads films: containers, their clocks and faults, and the pictures as they are to be seen."""
