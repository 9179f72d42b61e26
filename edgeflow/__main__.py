"""`python -m edgeflow`."""

from edgeflow.cli import main

if __name__ == "__main__":
    main()
