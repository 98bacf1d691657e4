"""From a source event to what Meta takes: one compiled function for each destination. No I/O, no clock, no HTTP."""
