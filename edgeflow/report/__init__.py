"""One page that shows what a bundle does on a clip: `edgeflow profile --report`."""
