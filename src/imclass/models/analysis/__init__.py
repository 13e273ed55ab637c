"""What can be found out about a network, or changed in it, from its layers."""
