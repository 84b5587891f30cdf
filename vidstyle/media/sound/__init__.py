"""Audio streams: what a container takes, copied or re-encoded."""
