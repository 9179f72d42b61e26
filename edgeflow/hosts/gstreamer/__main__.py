"""`python -m edgeflow.hosts.gstreamer`: let GStreamer find the element, in this environment.

GStreamer's loader of Python plugins runs the system's Python, which knows nothing of a virtual environment. What is written into the user's
plugin folder is a file that adds this environment's packages to it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from edgeflow.ir.files import write_atomically

_PLUGIN = '''"""edgeflow's element, from the environment it is installed in; written by python -m edgeflow.hosts.gstreamer."""

import site
import sys

if sys.version_info[:2] != {version}:
    raise ImportError(
        "edgeflow is installed for Python {words}, GStreamer runs Python %d.%d: install edgeflow in an environment "
        "of that Python, and run its python -m edgeflow.hosts.gstreamer" % sys.version_info[:2]
    )
for place in {places}:
    site.addsitedir(place)
from edgeflow.hosts.gstreamer.element import __gstelementfactory__
'''


def main() -> None:
    """Write the plugin file and say how to try it."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    folder = Path(home).expanduser() / "gstreamer-1.0" / "plugins" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    version = sys.version_info[:2]
    places = list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))
    text = _PLUGIN.format(version=tuple(version), words="{}.{}".format(*version), places=places)
    place = folder / "edgeflow_element.py"  # a name of its own: it is imported by that
    write_atomically(place, text.encode())
    sys.stdout.write(
        f"wrote {place}\nnext: export GST_PLUGIN_PATH={folder.parent}; gst-inspect-1.0 edgeflow\n"
    )


if __name__ == "__main__":
    main()
