"""Multiplicative pooling of maps: trilinear (Huo et al.) and compact bilinear (Gao et al.)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def signed_sqrt_l2(x: Tensor) -> Tensor:
    """sign(x) sqrt(|x|), then division by the l2 norm of each row; (B, D) to (B, D).

    1e-8 under the root and 1e-12 under the norm keep the gradient finite at zero.
    """
    rooted = x.sign() * (x.abs() + 1e-8).sqrt()
    return nn.functional.normalize(rooted, dim=-1)


def _positions(x: Tensor) -> Tensor:
    """(B, c, h, w) to (B, h * w, c)."""
    return x.flatten(2).transpose(1, 2)


class TrilinearPooling(nn.Module):
    """f = sum over positions of 1^T (U^T x . V^T y . W^T z) (Huo et al., equations 4 and 5).

    Args:
        channels: c of the three maps.
        dim: D, length of the result.
        factors: d, products that are added for each of the D.

    AMBIGUOUS in the paper: D and d. Its total of 23.4 M parameters does not count the fusion and so
    does not tell them. Default D = 1024, d = 1: 3.9 M for c = 1280 (d = 5, D = 1000 as in MFB
    would be 19 M). Projections have no bias and start at N(0, 1/c).
    """

    def __init__(self, channels: int, dim: int = 1024, factors: int = 1) -> None:
        super().__init__()
        self.dim = dim
        self.factors = factors
        self.u = nn.Linear(channels, dim * factors, bias=False)
        self.v = nn.Linear(channels, dim * factors, bias=False)
        self.w = nn.Linear(channels, dim * factors, bias=False)
        for projection in (self.u, self.v, self.w):
            nn.init.normal_(projection.weight, std=channels**-0.5)

    def pair(self, y: Tensor, z: Tensor) -> Tensor:
        """V^T y . W^T z at each position: maps (B, c, h, w) to (B, h * w, d * D)."""
        found: Tensor = self.v(_positions(y)) * self.w(_positions(z))
        return found

    def with_pair(self, x: Tensor, pair: Tensor) -> Tensor:
        """f before root and norm, of a map (B, c, h, w) and what `pair` gave: (B, D)."""
        product: Tensor = self.u(_positions(x)) * pair
        return product.sum(1).view(-1, self.dim, self.factors).sum(-1)

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Signed root and l2 norm of f: maps (B, c, h, w) of one size to (B, D), norm 1."""
        return signed_sqrt_l2(self.with_pair(x, self.pair(y, z)))


class CompactBilinearPooling(nn.Module):
    """Tensor sketch of the outer product of two maps, summed over positions (Gao et al., 2016).

    The count sketch of x (x) y is the circular convolution of the sketches of x and y, and so a
    product of their Fourier transforms. Hashes and signs are drawn once, are buffers and are saved.

    Args:
        channels: c of both maps.
        dim: D, length of the sketch. Huo et al. do not give theirs; 8192 is Gao et al.'s choice.
        generator: draws hashes and signs; default: seeded with 0, so that two models agree.
    """

    hash_x: Tensor
    hash_y: Tensor
    sign_x: Tensor
    sign_y: Tensor

    def __init__(
        self, channels: int, dim: int = 8192, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.dim = dim
        if generator is None:
            generator = torch.Generator().manual_seed(0)
        for name in ("x", "y"):
            hashes = torch.randint(dim, (channels,), generator=generator, device="cpu")
            signs = torch.randint(2, (channels,), generator=generator, device="cpu") * 2 - 1
            self.register_buffer(f"hash_{name}", hashes)
            self.register_buffer(f"sign_{name}", signs.float())

    def _sketch(self, x: Tensor, hashes: Tensor, signs: Tensor) -> Tensor:
        flat = _positions(x) * signs
        return flat.new_zeros(*flat.shape[:2], self.dim).index_add(2, hashes, flat)

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        """The sketch before root and norm: maps (B, c, h, w) of one size to (B, D)."""
        fx = torch.fft.rfft(self._sketch(x, self.hash_x, self.sign_x))
        fy = torch.fft.rfft(self._sketch(y, self.hash_y, self.sign_y))
        found: Tensor = torch.fft.irfft((fx * fy).sum(1), n=self.dim)
        return found

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Signed root and l2 norm of the sketch: (B, c, h, w) twice to (B, D), norm 1."""
        return signed_sqrt_l2(self.products(x, y))
