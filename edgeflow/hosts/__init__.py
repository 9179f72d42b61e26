"""Programs of others that run bundles inside of them: frame servers, pipelines, servers. Each needs that program's own Python package."""
