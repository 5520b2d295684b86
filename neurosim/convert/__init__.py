"""From trained dense networks to networks that the simulator runs."""
