"""A family of models that brighten dark pictures."""
