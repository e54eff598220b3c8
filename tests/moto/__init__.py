"""Breadth: the store against moto, an S3 server that others wrote, as it is and with its IAM checks on."""
