"""The model families, one folder each. They use the same public flow API as a user's model."""
