"""Sparse codes: the exact minimisers of a lasso for many rows at once.

The code of a row x is the vector u that minimises

    (1)  1/2 |x - u B|^2 + penalty |u|_1

where the rows of B are words of unit length. With the residual correlations q = B (x - u B), u is a minimiser if and
only if for every word k

    (2)  u_k = soft(u_k + q_k),   soft(z) = sign(z) max(|z| - penalty, 0).

Each round chooses a few words for each row: those with u_k != 0, and those that violate (2) most. Coordinate descent
solves (1) for these words; it sets u_k to soft(u_k + q_k), word by word, for all rows together. Then the linear
equations for the words with u_k != 0 are solved, and u moves towards their solution until a u_k reaches 0 (H. Lee et
al., "Efficient sparse coding algorithms", NIPS 2006). Neither step increases (1). Rows that satisfy (2) are finished.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn.functional import softshrink

BLOCK = 2048  # rows that are encoded together
FIRST, MORE = 24, 4  # words of a row in a round: at least FIRST, and at least MORE beyond those with u_k != 0
SWEEPS = 16  # of coordinate descent in each round
ROUNDS = 100  # at most; a row needs about 4, and one that is not finished then is as good as rounding allows
RIDGE = 1e-5  # added to the squared lengths of words in the linear equations, which have no solution for equal words
TOLERANCE = 1e-6  # of (2), relative to the largest correlation of the row with a word


def sparse_codes(
    x: Float32[Tensor, "N d"], words: Float32[Tensor, "K d"], penalty: float
) -> Iterator[Float32[Tensor, "_ K"]]:
    """Yield the codes of each block of rows. The words have unit length."""
    gram = words @ words.T
    for block in x.split(BLOCK):
        yield encode_block(block, words, gram, penalty)


def encode_block(
    x: Float32[Tensor, "N d"], words: Float32[Tensor, "K d"], gram: Float32[Tensor, "K K"], penalty: float
) -> Float32[Tensor, "N K"]:
    """Return the codes of rows, given the inner products of the words."""
    found = torch.zeros(len(x), len(words))
    left, codes = torch.arange(len(x)), torch.zeros_like(found)
    correlations = x @ words.T
    limits = TOLERANCE * correlations.abs().amax(1)
    for number in range(ROUNDS):
        changes = softshrink(codes + correlations, penalty).sub_(codes).abs_()
        open_rows = changes.amax(1) > limits  # (2)
        if not open_rows.all():
            found[left[~open_rows]] = codes[~open_rows]
            left, x, limits = left[open_rows], x[open_rows], limits[open_rows]
            codes, correlations, changes = codes[open_rows], correlations[open_rows], changes[open_rows]
        if not len(left):
            return found
        used = codes != 0
        size = min(max(FIRST, int(used.sum(1).amax()) + MORE), len(words))
        chosen = changes.masked_fill_(used, torch.inf).topk(size, 1, sorted=False).indices
        values = descend(codes.gather(1, chosen), correlations.gather(1, chosen), chosen, gram, penalty)
        if number:  # the first choice of words is rough, and an exact solution not worth its time
            values = move_to_solution(*values, chosen, gram, penalty), values[1]
        codes.scatter_(1, chosen, values[0])
        correlations = (x - codes @ words) @ words.T
    found[left] = codes
    return found


def descend(
    values: Float32[Tensor, "N W"],
    correlations: Float32[Tensor, "N W"],
    chosen: Int64[Tensor, "N W"],
    gram: Float32[Tensor, "K K"],
    penalty: float,
) -> tuple[Float32[Tensor, "N W"], Float32[Tensor, "N W"]]:
    """Return the values and residual correlations of each row's chosen words after sweeps of coordinate descent."""
    columns = chosen.T.contiguous()  # rows lie in the last dimension, so that each operation is over all rows
    pairs = (columns[:, None] * len(gram) + columns).flatten()
    products = gram.flatten().index_select(0, pairs).view(len(columns), *columns.shape)
    u, q = values.T.contiguous(), correlations.T.contiguous()
    for _ in range(SWEEPS):
        for u_k, q_k, product in zip(u, q, products, strict=True):
            new = softshrink(u_k + q_k, penalty)
            q.addcmul_(product, u_k - new)
            u_k.copy_(new)
    return u.T, q.T


def move_to_solution(
    values: Float32[Tensor, "N W"],
    correlations: Float32[Tensor, "N W"],
    chosen: Int64[Tensor, "N W"],
    gram: Float32[Tensor, "K K"],
    penalty: float,
) -> Float32[Tensor, "N W"]:
    """Return values closer to those at which (1) has no gradient with respect to values other than 0.

    If a value reaches 0 on the way, all values of its row stop there.
    """
    used = values != 0
    places = used.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, : int(used.sum(1).amax())]
    u, q, words = values.gather(1, places), correlations.gather(1, places), chosen.gather(1, places)
    used = u != 0
    products = gram.flatten()[words[:, :, None] * len(gram) + words[:, None]] * (used[:, :, None] & used[:, None])
    products.diagonal(dim1=1, dim2=2).fill_(1 + RIDGE)
    factor, failed = torch.linalg.cholesky_ex(products)
    step = torch.cholesky_solve(((q - penalty * u.sign()) * used)[:, :, None], factor)[:, :, 0]
    share, first = torch.where(u * (u + step) < 0, -u / step, torch.inf).min(1)
    share = torch.where(failed > 0, 0, share.clamp(max=1))
    moved = u + share[:, None] * step
    stopped = (share < 1).nonzero()[:, 0]
    moved[stopped, first[stopped]] = 0
    return values.scatter(1, places, moved)
