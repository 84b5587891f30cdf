"""Downloads: files of packages with a pinned hash, fetched once and kept in the user's cache."""
