/*
 * seam: which calls of Python into the core give up the interpreter's lock.
 *
 * cffi gives it up around every call. For a call that takes a microsecond that is dear: with many
 * threads each giving up is a hand-over to another one, two context switches for nothing (measured
 * with 32 threads on two processors: half of all CPU). So the glue that cffi generates, which this
 * header is included into, gives the lock up only for the calls below, which wait or may work for
 * long. The others take locks of the core at most, and no thread that holds such a lock ever waits
 * for Python.
 */
#ifndef S3I_PYTHON_SEAM_H
#define S3I_PYTHON_SEAM_H

#include <stdbool.h>
#include <string.h>

static inline bool s3i_seam_waits(const char *wrapper)
{
    static const char *const waiting[] = {
        "_cffi_f_s3ext_op_run",         "_cffi_f_s3ext_op_wait",
        "_cffi_f_s3ext_upload_wait",    "_cffi_f_s3ext_queue_close",
        "_cffi_f_s3ext_op_delete_many", "_cffi_f_s3ext_credentials_wanted",
        "_cffi_f_s3ext_shutdown",       "_cffi_f_s3ext_op_get_ranges",
        "_cffi_f_s3ext_presign",
    };
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
        if (strcmp(wrapper, waiting[i]) == 0) {
            return true;
        }
    }
    return false;
}

#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS                                                                     \
    {                                                                                              \
        PyThreadState *s3i_saved = s3i_seam_waits(__func__) ? PyEval_SaveThread() : NULL;
#define Py_END_ALLOW_THREADS                                                                       \
    if (s3i_saved != NULL) {                                                                       \
        PyEval_RestoreThread(s3i_saved);                                                           \
    }                                                                                              \
    }

#endif
