"""Storage: atomic writes, records, provenance, run directories, pictures."""
