"""Files on disk: written atomically, sealed by a digest, and read within bounds."""
