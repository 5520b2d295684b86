"""From trained dense networks to networks that the simulator runs."""

from neurosim.convert.adapt import TuneOptions, refit, tune
from neurosim.convert.convert import Conversion, Report, convert_quantised, convert_rounding, describe, pareto, sweep
from neurosim.convert.counting import Counts, count
from neurosim.convert.delta_gru import DeltaGruRun, run_delta_gru
from neurosim.convert.delta_gru_training import DeltaTraining, train_delta_gru
from neurosim.convert.hybrid_lmu import IntegerLmu, LmuOptions, convert_lmu
from neurosim.convert.integers import IntegerOptions, to_network
from neurosim.convert.lava import LavaNetwork, LavaReport, describe_lava, to_lava
from neurosim.convert.order import temporal_order
from neurosim.convert.plan import Plan, Site, Term, make_plan
from neurosim.convert.quantise import Formats, QuantiseOptions, choose_formats
from neurosim.convert.scales import ScaleOptions, optimise_scales

__all__ = [
    "Conversion",
    "Counts",
    "DeltaGruRun",
    "DeltaTraining",
    "Formats",
    "IntegerLmu",
    "IntegerOptions",
    "LavaNetwork",
    "LavaReport",
    "LmuOptions",
    "Plan",
    "QuantiseOptions",
    "Report",
    "ScaleOptions",
    "Site",
    "Term",
    "TuneOptions",
    "choose_formats",
    "convert_lmu",
    "convert_quantised",
    "convert_rounding",
    "count",
    "describe",
    "describe_lava",
    "make_plan",
    "optimise_scales",
    "pareto",
    "refit",
    "run_delta_gru",
    "sweep",
    "temporal_order",
    "to_lava",
    "to_network",
    "train_delta_gru",
    "tune",
]
