"""From trained dense networks to networks that the simulator runs."""

from neurosim.convert.adapt import TuneOptions, refit, tune
from neurosim.convert.convert import (
    Conversion,
    Report,
    convert_quantised,
    convert_rounding,
    describe,
    integer_frames,
    pareto,
    sweep,
)
from neurosim.convert.counting import Counts, count
from neurosim.convert.delta_gru import DeltaRun, run_delta_gru
from neurosim.convert.delta_lstm import run_delta_lstm
from neurosim.convert.delta_training import DeltaTraining, train_delta
from neurosim.convert.gated import GatedFormats, GatedNetwork, to_gated
from neurosim.convert.gated_runs import GatedReport, GatedRun, describe_gated, run_gated
from neurosim.convert.hybrid import HybridNetwork, HybridReport, convert_hybrid, describe_hybrid, to_hybrid
from neurosim.convert.hybrid_lmu import IntegerLmu, LmuOptions, convert_lmu
from neurosim.convert.hybrid_options import HybridOptions
from neurosim.convert.integers import IntegerOptions, to_network
from neurosim.convert.lava import LavaNetwork, LavaReport, describe_lava, to_lava
from neurosim.convert.order import temporal_order
from neurosim.convert.plan import Plan, Site, Term, make_plan
from neurosim.convert.quantise import Formats, QuantiseOptions, choose_formats
from neurosim.convert.rate import RateNetwork, RateOptions, RateReport, convert_rates, describe_rates, to_rates
from neurosim.convert.scales import FoundScales, ScaleOptions, optimise_scales
from neurosim.convert.spike_counting import SpikeCounts, count_spikes

__all__ = [
    "Conversion",
    "Counts",
    "DeltaRun",
    "DeltaTraining",
    "Formats",
    "FoundScales",
    "GatedFormats",
    "GatedNetwork",
    "GatedReport",
    "GatedRun",
    "HybridNetwork",
    "HybridOptions",
    "HybridReport",
    "IntegerLmu",
    "IntegerOptions",
    "LavaNetwork",
    "LavaReport",
    "LmuOptions",
    "Plan",
    "QuantiseOptions",
    "RateNetwork",
    "RateOptions",
    "RateReport",
    "Report",
    "ScaleOptions",
    "Site",
    "SpikeCounts",
    "Term",
    "TuneOptions",
    "choose_formats",
    "convert_hybrid",
    "convert_lmu",
    "convert_quantised",
    "convert_rates",
    "convert_rounding",
    "count",
    "count_spikes",
    "describe",
    "describe_gated",
    "describe_hybrid",
    "describe_lava",
    "describe_rates",
    "integer_frames",
    "make_plan",
    "optimise_scales",
    "pareto",
    "refit",
    "run_delta_gru",
    "run_delta_lstm",
    "run_gated",
    "sweep",
    "temporal_order",
    "to_gated",
    "to_hybrid",
    "to_lava",
    "to_network",
    "to_rates",
    "train_delta",
    "tune",
]
