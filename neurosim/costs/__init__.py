"""Costs: counts times constants, latency and throughput, traffic, and the audit of every run."""

from neurosim.costs.baseline import BaselineCost, baseline_cost
from neurosim.costs.energy import PROVENANCE, Energy, EnergyTerm, Interval, PowerTerm
from neurosim.costs.incidents import Incidents
from neurosim.costs.neurobench import NeuroBench, neurobench
from neurosim.costs.result import MemoryTraffic, Result
from neurosim.costs.window import Window, find_window

__all__ = [
    "PROVENANCE",
    "BaselineCost",
    "Energy",
    "EnergyTerm",
    "Incidents",
    "Interval",
    "MemoryTraffic",
    "NeuroBench",
    "PowerTerm",
    "Result",
    "Window",
    "baseline_cost",
    "find_window",
    "neurobench",
]
