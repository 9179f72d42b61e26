"""Writes films: encoders and containers, in one file or in pieces that are joined."""
