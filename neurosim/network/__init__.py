"""Networks: layers of units joined by connections, and what each unit does in one timestep."""

from neurosim.network.connections import Connection, Delay
from neurosim.network.gated import DeltaGru, DeltaLstm, Gated
from neurosim.network.graph import Layer, Network
from neurosim.network.hybrid import Hybrid
from neurosim.network.maxima import MaxRounding
from neurosim.network.membranes import CurrentLeaky, CurrentLif, Leaky, Lif, Membrane
from neurosim.network.reference import ReferenceRun, run_reference
from neurosim.network.rounding import Rounding
from neurosim.network.transforms import ByTarget, Conv2d, Dense, FanOut, Pool2d, Sparse, Transform
from neurosim.network.unit_base import Unit
from neurosim.network.units import CubaLif, Delta, Relay, Sigma, SigmaDelta

__all__ = [
    "ByTarget",
    "Connection",
    "Conv2d",
    "CubaLif",
    "CurrentLeaky",
    "CurrentLif",
    "Delay",
    "Delta",
    "DeltaGru",
    "DeltaLstm",
    "Dense",
    "FanOut",
    "Gated",
    "Hybrid",
    "Layer",
    "Leaky",
    "Lif",
    "MaxRounding",
    "Membrane",
    "Network",
    "Pool2d",
    "ReferenceRun",
    "Relay",
    "Rounding",
    "Sigma",
    "SigmaDelta",
    "Sparse",
    "Transform",
    "Unit",
    "run_reference",
]
