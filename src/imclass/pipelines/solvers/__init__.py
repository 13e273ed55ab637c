"""Solvers, each in a module with a table `SOLVERS`. Their modules do not import PyTorch, so recipes can use them."""
