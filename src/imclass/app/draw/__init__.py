"""Pictures: learning curves, confusion matrices, reliability diagrams, grids of feature maps."""
