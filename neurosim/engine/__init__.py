"""The engine: which messages are sent, and when everything happens."""

from neurosim.engine.checkpoint import Checkpoint
from neurosim.engine.counters import CoreCount, LayerCount
from neurosim.engine.critical import RESOURCES, Resource, binding
from neurosim.engine.function import FunctionRun, StepActivity
from neurosim.engine.loads import PacketLoad, PacketTimes
from neurosim.engine.mesh import MeshModel
from neurosim.engine.run import run_program
from neurosim.engine.shared import run_programs
from neurosim.engine.timing import StepTiming, TimeRun
from neurosim.engine.totals import RunCounts
from neurosim.engine.trace import PacketTrace, StepTrace, TraceWindow

__all__ = [
    "RESOURCES",
    "Checkpoint",
    "CoreCount",
    "FunctionRun",
    "LayerCount",
    "MeshModel",
    "PacketLoad",
    "PacketTimes",
    "PacketTrace",
    "Resource",
    "RunCounts",
    "StepActivity",
    "StepTiming",
    "StepTrace",
    "TimeRun",
    "TraceWindow",
    "binding",
    "run_program",
    "run_programs",
]
