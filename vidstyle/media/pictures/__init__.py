"""Still pictures: read, written, colour-managed, with their metadata."""
