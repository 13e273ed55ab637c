"""The comparison of several recipes on the same data: entries, training times, standings and a picture."""
