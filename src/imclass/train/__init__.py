"""Training as an iterator of events, crash-safe and exactly resumable."""
