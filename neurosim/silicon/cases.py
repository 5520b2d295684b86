"""All measurements that are rebuilt, in the order of the page."""

from __future__ import annotations

from neurosim.silicon import baselines, loihi_micro, odin_rates, seneca_instructions
from neurosim.silicon import v1_pilotnet_lif as v1
from neurosim.silicon import v2_pilotnet_sdnn as v2
from neurosim.silicon import v6_spinnaker_kmeans as v6
from neurosim.silicon import v6b_spinnaker_dbn as v6b
from neurosim.silicon import v8_truenorth as v8
from neurosim.silicon.case import Case

CASES: tuple[Case, ...] = (
    v1.CASE,
    v2.CASE,
    v6.CASE,
    v6b.CASE,
    v8.EEDN_CASE,
    v8.CORNERS_CASE,
    loihi_micro.CASE,
    seneca_instructions.CASE,
    odin_rates.CASE,
    baselines.EYERISS,
    baselines.TPU,
    baselines.CPU,
)
