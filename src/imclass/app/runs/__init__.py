"""Training runs: how they are configured, prepared, stored, interrupted and resumed."""
