"""Consumers that write a run's files. Each receives one event at a time, and is closed at the end."""
