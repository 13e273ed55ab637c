"""The loop, its events, what it minimises, and what it saves."""
