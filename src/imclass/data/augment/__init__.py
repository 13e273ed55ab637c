"""What a training image may undergo."""
