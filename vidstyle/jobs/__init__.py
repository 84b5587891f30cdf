"""Jobs: sources and outputs, planned, run, saved and resumed; batches and clusters."""
