/*
 * arrow: the objects of a page of a listing as Arrow columns, shown to others by the Arrow C data
 * and stream interfaces (https://arrow.apache.org/docs/format/CDataInterface.html) in PyCapsules.
 *
 * The type ArrowRows is a slice of a batch. A batch is one block of C memory with a count of
 * references: one of each ArrowRows, and one of each array that was handed out, column by column.
 * It copies what it needs, so it outlives the listing. Whoever has such an array releases it on any
 * thread, with or without the interpreter, after a fork and at exit: that takes an atomic
 * decrement and free().
 */
#ifndef S3I_PYTHON_ARROW_H
#define S3I_PYTHON_ARROW_H

#include "python/rows.h"

/* The type ArrowRows, which may be subclassed; made by slicing and by the functions below only. */
extern PyType_Spec s3i_arrow_spec;

/* Is `type` the type ArrowRows, `base`, or a subclass of it? false with TypeError set. */
bool s3i_arrow_type_check(PyObject *type, PyTypeObject *base);

/* A new object of a type with all objects of a page; NULL with a Python error set. */
PyObject *s3i_arrow_from_page(PyTypeObject *type, const struct s3_page *page);

/* A new object of a type with the rows of a list of such objects, in one batch. */
PyObject *s3i_arrow_joined(PyTypeObject *type, PyTypeObject *base, PyObject *list);

/* A capsule with the stream of the batches in a list of such objects; and one with their schema. */
PyObject *s3i_arrow_stream(PyTypeObject *base, PyObject *list);
PyObject *s3i_arrow_schema(void);

#endif
