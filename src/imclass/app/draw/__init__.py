"""Pictures: learning curves, confusion matrices, reliability diagrams, and grids of feature maps."""
