"""edgeflow: edge deployment for video networks whose compute depends on their input."""

__version__ = "0.1.0"
