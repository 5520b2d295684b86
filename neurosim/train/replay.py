"""Work on a GPU that is recorded once and then replayed, which spares the launching of thousands of small kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Replayed:
    """A function of tensors, called as it is on a CPU and replayed from a recording on a GPU.

    Parameters
    ----------
    torch
        The library.
    device
        A name of PyTorch's.
    work
        Takes and returns tensors. On a GPU everything else that it reads is taken as it stood at the first call, but
        tensors, which are read anew: what changes from call to call has to be in a tensor.

    What a call returns is written over by the next one on a GPU.
    """

    def __init__(self, torch: Any, device: str, work: Callable[..., Any]) -> None:
        self.torch, self.work, self.records = torch, work, device.startswith("cuda")
        self.recordings: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...], Any]] = {}

    def __call__(self, *inputs: Any) -> Any:
        if not self.records:
            return self.work(*inputs)
        shapes = tuple(tuple(x.shape) for x in inputs)
        if shapes not in self.recordings:
            self.recordings[shapes] = self._record(inputs)
        graph, fixed, out = self.recordings[shapes]
        for held, x in zip(fixed, inputs, strict=True):
            held.copy_(x)
        graph.replay()
        return out

    def _record(self, inputs: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], Any]:
        cuda, fixed = self.torch.cuda, tuple(x.clone() for x in inputs)
        # Libraries set themselves up at their first use, which must not be recorded.
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            self.work(*fixed)
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            out = self.work(*fixed)
        return graph, fixed, out
