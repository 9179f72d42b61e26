"""The runtime: opens a bundle and runs it with numpy and one engine library."""
