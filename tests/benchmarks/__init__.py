"""What s3ext costs beside obstore and beside raw sockets: `python -m tests.benchmarks --help`."""
