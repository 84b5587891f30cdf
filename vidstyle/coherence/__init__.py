"""Temporal coherence: shots, warm start, key frames, disocclusion, dissolves, fades, deflicker."""
