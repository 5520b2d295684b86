"""The engine: which messages are sent, and when everything happens."""

from neurosim.engine.counters import CoreCount, LayerCount
from neurosim.engine.function import FunctionRun, StepActivity
from neurosim.engine.mesh import MeshModel, PacketLoad, PacketTimes
from neurosim.engine.run import RunCounts, run_program
from neurosim.engine.timing import PacketTrace, StepTiming, TimeRun

__all__ = [
    "CoreCount",
    "FunctionRun",
    "LayerCount",
    "MeshModel",
    "PacketLoad",
    "PacketTimes",
    "PacketTrace",
    "RunCounts",
    "StepActivity",
    "StepTiming",
    "TimeRun",
    "run_program",
]
