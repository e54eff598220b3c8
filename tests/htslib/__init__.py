"""samtools and tabix, and so htslib's S3 plugin, beside s3ext.open: one server, one environment."""
