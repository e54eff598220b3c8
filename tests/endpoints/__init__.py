"""Regions, hosts and styles: against botocore, and on the wire."""
