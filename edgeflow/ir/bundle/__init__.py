"""Bundles on disk: what their manifests say, how they are opened, and what is kept in them and beside them."""

from edgeflow.ir.bundle.graph_files import WEIGHTS as WEIGHTS
from edgeflow.ir.bundle.manifest import FORMAT as FORMAT
from edgeflow.ir.bundle.manifest import MANIFEST as MANIFEST
from edgeflow.ir.bundle.manifest import SCHEMA as SCHEMA
from edgeflow.ir.bundle.manifest import Constant as Constant
from edgeflow.ir.bundle.manifest import FileEntry as FileEntry
from edgeflow.ir.bundle.manifest import GraphEntry as GraphEntry
from edgeflow.ir.bundle.manifest import Kernel as Kernel
from edgeflow.ir.bundle.manifest import Manifest as Manifest
from edgeflow.ir.bundle.manifest import manifest_from_json as manifest_from_json
from edgeflow.ir.bundle.manifest import manifest_to_json as manifest_to_json
from edgeflow.ir.bundle.opening import Bundle as Bundle
from edgeflow.ir.bundle.opening import open_bundle as open_bundle
