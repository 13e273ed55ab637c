"""One file a family of recipes: functions that return one complete config each; each file exposes a table `RECIPES`."""
