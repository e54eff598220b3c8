/*
 * rows: the objects of a page of a listing as ObjectMeta dicts, made in one call; and the answer to
 * a read, which has the like of a row.
 *
 * A page is a result of the core's (struct s3ext_result), borrowed for the length of the call, and
 * read with the interpreter's lock held. Keys lose the store's prefix, and one trailing '/', the
 * mark of a directory marker or a common prefix, unless the caller wants them raw.
 */
#ifndef S3I_PYTHON_ROWS_H
#define S3I_PYTHON_ROWS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#include "s3ext.h"

/* What the module keeps for it. */
struct s3_rows {
    PyObject *blank; /* a dict with all keys, whose values are None */
    PyObject *path, *last_modified, *size, *e_tag, *version;
    PyObject *from_text; /* datetime.fromisoformat */
};

/* 0, or -1 with a Python error set; cleared by s3i_rows_clear in either case. */
int s3i_rows_init(struct s3_rows *rows);
int s3i_rows_traverse(const struct s3_rows *rows, visitproc visit, void *arg);
void s3i_rows_clear(struct s3_rows *rows);

/* A page, and how its keys become paths. */
struct s3_page {
    const struct s3ext_result *result;
    size_t skip; /* bytes of the store's prefix, '/' included */
    bool raw;
};

/* Takes (address, skip, raw) from a call's arguments; false with a Python error set. */
bool s3i_page_from(PyObject *const *args, struct s3_page *page);

/* The bytes of the page that are an entry's path; *size receives their number. */
const char *s3i_page_path(const struct s3_page *page, const struct s3ext_list_entry *entry,
                          size_t *size);

/*
 * What a read or a HEAD ended in, as (code, start, end, meta, headers, address, size, capacity,
 * owner): the range, the ObjectMeta of `path` and the pair block of the headers, both None where
 * `path` is None or the code is an error; and the first slice, all 0 where there is none. NULL with
 * a Python error set.
 */
PyObject *s3i_answer_of(const struct s3_rows *rows, const struct s3ext_result *result,
                        PyObject *path);

/* The objects as a list of dicts, the common prefixes as one of str; NULL with a Python error set.
 */
PyObject *s3i_rows_of(const struct s3_rows *rows, const struct s3_page *page);
PyObject *s3i_prefixes_of(const struct s3_page *page);

#endif
