"""The store against Ceph's radosgw: a real S3 server, which checks what it is sent.

`cluster.py` starts it, from nothing and in memory; the fixtures give each test a bucket of its own.

Where radosgw (16.2) is not what S3 is, so that a test must not expect it:

* it takes any region in signatures, and names none in its answers;
* `CompleteMultipartUpload` answers an empty ETag; HEAD and listings have the right one;
* `If-Match: *` holds for no object;
* copy conditions, `If-Match` on DELETE and `If-None-Match` on CompleteMultipartUpload are ignored;
* `If-Match` on PUT knows only unquoted ETags;
* who may delete none of the keys of a bulk delete gets 403 for the request, not an error for each key;
* with STS on, a wrong key or secret is AccessDenied, without a code of its own;
* copies with a customer's key (SSE-C) are not implemented;
* x-amz-checksum-* headers are ignored, and trailers with checksums are not understood;
* listings have milliseconds in their dates, headers whole seconds;
* bucket names have three characters at least, and policies for IAM no spaces.
"""
