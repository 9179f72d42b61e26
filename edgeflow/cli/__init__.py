"""The command line: `edgeflow export | check | run | profile | inspect | targets | sys | train`."""

from edgeflow.cli.main import main as main
