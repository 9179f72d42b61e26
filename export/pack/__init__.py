"""What a bundle's folder holds: graphs, weights, goldens."""
