"""Temporal coherence: warm start, key frames, disocclusion, dissolves, fades, deflicker."""
