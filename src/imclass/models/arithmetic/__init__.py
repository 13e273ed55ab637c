"""Which numbers a network computes with: the probe of precision and memory layout, bf16."""
