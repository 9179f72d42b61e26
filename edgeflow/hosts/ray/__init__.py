"""Workers of a Ray cluster that make films: actors, each with a session, on whichever machines the cluster has."""

from edgeflow.hosts.ray.crew import ray_crew

__all__ = ["ray_crew"]
