"""A small delta GRU that tells drawn sounds by the way in which their pitch moves."""
