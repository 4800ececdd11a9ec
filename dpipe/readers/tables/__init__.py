"""Tables of a study: conditions, phases, spillover."""
