"""The contract with programs written for obstore, obspec and async-tiff.

Other people's tests and code are run on s3ext, and what they taught is in tests of our own.
"""
