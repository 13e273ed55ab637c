"""The syntax of a source file, which several rules read one after the other."""

import ast
from functools import lru_cache


@lru_cache(maxsize=1)
def parse(text: str) -> ast.Module:
    """Return the syntax tree of a file. Only that of the last file is kept."""
    return ast.parse(text)


@lru_cache(maxsize=1)
def nodes(text: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a file."""
    return tuple(ast.walk(parse(text)))
