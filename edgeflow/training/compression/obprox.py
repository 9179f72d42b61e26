"""OBProx-SG: stochastic gradients that make weights exactly zero.

Source: Chen et al., Orthant Based Proximal Stochastic Gradient Method for l1-Regularized Optimization (ECML PKDD 2020), Algorithms 1 to 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class OBProxSG(Optimizer):
    """Proximal steps first, then orthant steps: weights that are zero stay zero, and none changes its sign.

    Matrices and filters are regularised; biases, the parameters of norms and what is kept are not.

    Args:
        parameters: that learn.
        rate: of learning.
        sparsity: weight of the l1 norm, lambda.
        eps: in orthant steps, weights up to this size become zero.
        keep: of the parameters, those that stay as dense as they are.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        rate: float = 1e-3,
        sparsity: float = 1e-4,
        eps: float = 1e-4,
        keep: Iterable[nn.Parameter] = (),
    ) -> None:
        own, kept = list(parameters), {id(p) for p in keep}
        sparse = [p for p in own if p.dim() > 1 and id(p) not in kept]
        dense = [p for p in own if p.dim() <= 1 or id(p) in kept]
        groups = [{"params": sparse, "sparsity": sparsity}, {"params": dense, "sparsity": 0.0}]
        self.orthant = False
        """Whether steps stay within the orthant that the weights are in."""
        super().__init__([group for group in groups if group["params"]], {"rate": rate, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step by the gradients that are there."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if self.orthant and group["sparsity"]:
                    made = _orthant_step(
                        parameter, parameter.grad, group["rate"], group["sparsity"], group["eps"]
                    )
                else:
                    made = _proximal_step(parameter, parameter.grad, group["rate"], group["sparsity"])
                parameter.copy_(made)
        return loss


def _proximal_step(x: torch.Tensor, gradient: torch.Tensor, rate: float, sparsity: float) -> torch.Tensor:
    """A gradient step, then soft thresholding."""
    moved = x - rate * gradient
    return moved.sign() * (moved.abs() - rate * sparsity).clamp_min(0)


def _orthant_step(
    x: torch.Tensor, gradient: torch.Tensor, rate: float, sparsity: float, eps: float
) -> torch.Tensor:
    """A step of the regularised loss, which is smooth in an orthant, projected onto it."""
    face = x.sign()
    moved = x - rate * (gradient + sparsity * face)
    return torch.where(moved * face > eps, moved, torch.zeros_like(moved))
