"""The test suite of s3ext."""
