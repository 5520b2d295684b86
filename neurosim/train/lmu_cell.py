"""A Legendre memory unit on PyTorch's device: forwards with quantised messages, backwards straight through.

`neurosim.train.lmu` holds the cell's equations. The memory's inputs are the sequence alone, so nothing in it is
trained and derivatives need only go back through the hidden layer; they are written out here, which spares PyTorch a
graph of hundreds of steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.train.lmu import Lmu

NAMES = ("input", "state", "memory", "bias", "readout", "answer")
"""What is trained."""


class LmuCell:
    """A network on PyTorch's device, in float32.

    With `draw` residuals start at values drawn for each sequence from that generator, as in training, so that the
    network learns no one pattern of rounding by heart; otherwise at the network's own, and ranges of n are kept.
    """

    def __init__(self, torch: Any, device: str, net: Lmu, draw: Any = None) -> None:
        self.torch, self.net, self.device, self.draw = torch, net, device, draw
        self.quantises = bool(net.omega_memory), bool(net.omega_hidden)

        def send(array: NDArray[Any]) -> Any:
            return torch.as_tensor(array.astype(np.float32), device=device)

        self.p = {name: send(getattr(net, name)) for name in NAMES}
        self.a, self.b = send(net.memory_matrix.T.copy()), send(net.memory_input)
        self.v_memory, self.v_hidden = send(net.start_memory), send(net.start_hidden)
        # In tensors, since they change in the course of training and recordings read tensors alone.
        self.omegas = [torch.zeros((), device=device) for _ in range(2)]
        self.limits = [torch.zeros((), device=device) for _ in range(2)]
        self.choose(1.0)
        self.seen: list[list[Any]] = [[], []]

    def choose(self, factor: float) -> None:
        """Take omegas of `factor` times the network's; only at 1 the memory's levels count."""
        endless = (-np.inf, np.inf)
        limits = (self.net.memory_limits if factor == 1 else None) or endless
        for held, omega in zip(self.omegas, (self.net.omega_memory, self.net.omega_hidden), strict=True):
            held.fill_(omega * factor)
        for held, limit in zip(self.limits, limits, strict=True):
            held.fill_(limit)

    def inputs(self, values: NDArray[Any]) -> Any:
        """Return u (steps, sequences) of integer values (sequences, steps)."""
        u = self.net.inputs(values).astype(np.float32).T
        return self.torch.as_tensor(np.ascontiguousarray(u), device=self.device)

    def starts(self, count: int) -> tuple[Any, Any]:
        """Return first residuals of memory and hidden layer, (sequences, neurons) each."""
        if self.draw is None:
            return self.v_memory.expand(count, -1).clone(), self.v_hidden.expand(count, -1).clone()
        sizes = len(self.v_memory), len(self.v_hidden)
        both = self.torch.rand((count, sum(sizes)), generator=self.draw, device=self.device)
        return tuple(part.contiguous() for part in both.split(sizes, dim=1))

    def remember(self, u: Any, v: Any) -> Any:
        """Return what the memory's neurons count as, (steps, sequences, order), of u (steps, sequences).

        `v` are first residuals, which are changed.
        """
        torch, omega = self.torch, self.omegas[0]
        steps, count = u.shape
        m = torch.empty((steps, count, len(self.b)), device=self.device)
        last = torch.zeros_like(m[0])
        n = torch.empty_like(last)
        for t in range(steps):
            torch.mm(last, self.a, out=m[t])
            m[t].addr_(u[t], self.b)
            if self.quantises[0]:
                v.addcmul_(m[t], omega)
                torch.floor(v, out=n)
                n.clamp_(*self.limits)
                v.sub_(n)
                torch.div(n, omega, out=m[t])
            last = m[t]
        self._see(0, m)
        return m

    def forward(self, u: Any, m: Any, v: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return answers (sequences, classes), and what `backward` needs.

        m is what `remember` gave, `v` are first residuals, which are changed.
        """
        torch, p, omega = self.torch, self.p, self.omegas[1]
        steps, count, order = m.shape
        f = torch.addmm(p["bias"], m.reshape(-1, order), p["memory"].T).view(steps, count, -1)
        f.addcmul_(u[:, :, None], p["input"])
        h = torch.empty_like(f)
        state = p["state"].T.contiguous()
        n = torch.empty_like(v)
        activate = torch.tanh_ if self.net.activation == "tanh" else torch.sigmoid_
        for t in range(steps):
            if t:
                f[t].addmm_(h[t - 1], state)
            activate(f[t])
            if self.quantises[1]:
                v.addcmul_(f[t], omega)
                torch.floor(v, out=n)
                v.sub_(n)
                torch.div(n, omega, out=h[t])
            else:
                h[t] = f[t]
        self._see(1, h)
        pooled = h[steps - self.net.readout_steps :].mean(0)
        return torch.addmm(p["answer"], pooled, p["readout"].T), (u, m, f, h, pooled)

    def backward(self, by_answers: Any, kept: tuple[Any, ...]) -> dict[str, Any]:
        """Return derivatives of the parameters: the step of floor counts as its argument."""
        torch, p, (u, m, f, h, pooled) = self.torch, self.p, kept
        steps, _, units = f.shape
        spread = self.net.readout_steps
        by_read = by_answers @ p["readout"] / spread
        by_sum = 1 - f * f if self.net.activation == "tanh" else f - f * f
        g = torch.zeros_like(by_read)
        for t in range(steps - 1, -1, -1):
            if t >= steps - spread:
                g.add_(by_read)
            by_sum[t].mul_(g)
            torch.mm(by_sum[t], p["state"], out=g)
        flat = by_sum.view(-1, units)
        return {
            "readout": by_answers.T @ pooled,
            "answer": by_answers.sum(0),
            "bias": flat.sum(0),
            "input": flat.T @ u.reshape(-1),
            "memory": flat.T @ m.reshape(-1, m.shape[2]),
            "state": by_sum[1:].reshape(-1, units).T @ h[:-1].reshape(-1, units),
        }

    def slopes(self, u: Any, m: Any, v: Any, labels: Any) -> tuple[Any, dict[str, Any]]:
        """Return the mean cross-entropy of labelled sequences and its derivatives by the parameters."""
        torch = self.torch
        answers, kept = self.forward(u, m, v)
        logs = torch.log_softmax(answers, 1)
        right = (labels[:, None] == torch.arange(answers.shape[1], device=self.device)).float()
        loss = -(logs * right).sum() / len(labels)
        return loss, self.backward((logs.exp() - right) / len(labels), kept)

    def _see(self, group: int, values: Any) -> None:
        if self.quantises[group] and self.draw is None:
            omega = float(self.omegas[group])
            ends = self.torch.stack((values.amin((0, 1)), values.amax((0, 1)))).cpu().numpy()
            self.seen[group].append(np.rint(ends.astype(np.float64) * omega).astype(np.int64))

    def ranges(self) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """Return the least and greatest n of every neuron in all passes so far."""
        memory, hidden = (
            np.stack((np.min([e[0] for e in ends], axis=0), np.max([e[1] for e in ends], axis=0))) if ends else None
            for ends in self.seen
        )
        return memory, hidden

    def trained(self) -> Lmu:
        """Return the network with the parameters as they are now."""
        return replace(self.net, **{name: value.cpu().numpy().astype(np.float64) for name, value in self.p.items()})
