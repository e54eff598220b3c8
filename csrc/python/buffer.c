/*
 * The extension module s3ext._buffer: what cffi cannot do, or not fast enough. The type Buffer, in
 * this file, shows bytes to Python without copying: before Python 3.12 a class written in Python
 * cannot export a buffer. A page of a listing becomes dicts (python/rows) or Arrow columns
 * (python/arrow) in one call.
 *
 * Only the files of this folder include Python.h. They keep to the limited API of Python 3.11
 * (build.py defines Py_LIMITED_API), use nothing of csrc/ but its calendar and the types of
 * s3ext.h, and run only on threads that hold the GIL, which is their one lock, but for the release
 * functions of python/arrow; a free-threaded Python turns the GIL on when it loads this module.
 *
 * Who owns the bytes that a Buffer shows:
 *   - an exporter: another Python object. The Buffer holds a view of it from birth to death. A
 *     slice is this case too: its exporter is the Buffer that was sliced or, for a slice of a
 *     slice, the first one, so that `b = b[1:]` in a loop builds no chain;
 *   - a native owner: C code that said how to give the memory back. release(owner) is called
 *     exactly once, when the Buffer is deallocated, with the GIL held: it must neither block nor
 *     call Python;
 *   - nobody: the Buffer is empty.
 *
 * Invariants: at most one of view.obj and release is set; data is never NULL; the bytes are never
 * written through a Buffer; the memory outlives every view of the Buffer, because each view refers
 * to the Buffer.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h> /* uintptr_t */
#include <string.h>

#include "python/arrow.h"
#include "python/rows.h"

typedef void (*release_function)(void *owner);

struct buffer {
    PyObject head;
    const char *data;
    Py_ssize_t size;
    Py_ssize_t exports;       /* Views of this object that are still held by others. */
    bool is_slice;            /* The exporter is a Buffer too, and not itself a slice. */
    Py_buffer view;           /* view.obj is the exporter, or NULL. */
    release_function release; /* NULL without a native owner. */
    void *owner;
};

struct state {
    PyTypeObject *buffer_type;
    PyTypeObject *arrow_type;
    struct s3_rows rows;
};

enum {
    CUT_SHARED = 64 * 1024 /* a piece of so many bytes may keep the memory that it lies in alive */
};

/* PyType_Slot holds functions as void *, a conversion that ISO C has only through an integer. */
#define SLOT(function) ((void *)(uintptr_t)(function)) /* NOLINT(performance-no-int-to-ptr) */
#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static struct buffer *self_of(PyObject *object)
{
    return (struct buffer *)object;
}

static bool is_bytes_format(const char *format)
{
    if (format == NULL) {
        return true;
    }
    if (*format != '\0' && strchr("@=<>!", *format) != NULL) {
        format++;
    }
    return strcmp(format, "B") == 0 || strcmp(format, "c") == 0;
}

/* Takes a view of an object's bytes. 0, or -1 with a Python error set and nothing held. */
static int view_bytes(PyObject *object, Py_buffer *view)
{
    if (PyObject_GetBuffer(object, view, PyBUF_FULL_RO) < 0) {
        return -1;
    }
    if (!is_bytes_format(view->format)) {
        PyErr_SetString(PyExc_BufferError, "buffer contents are not compatible with u8");
    } else if (view->ndim != 1) {
        PyErr_SetString(PyExc_ValueError, "Buffer is not one-dimensional");
    } else if (!PyBuffer_IsContiguous(view, 'C')) {
        PyErr_SetString(PyExc_ValueError, "Buffer is not C contiguous");
    } else {
        return 0;
    }
    PyBuffer_Release(view);
    return -1;
}

/* A new Buffer, empty and without an owner, of a type that is Buffer or a subclass of it. */
static struct buffer *new_empty(PyTypeObject *type)
{
    struct buffer *self = self_of(PyType_GenericAlloc(type, 0));
    if (self != NULL) {
        self->data = "";
    }
    return self;
}

/* A new Buffer that shows all bytes of an object. */
static struct buffer *new_from_exporter(PyTypeObject *type, PyObject *exporter)
{
    struct buffer *self = new_empty(type);
    if (self == NULL) {
        return NULL;
    }
    if (view_bytes(exporter, &self->view) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    if (self->view.buf != NULL) {
        self->data = self->view.buf;
    }
    self->size = self->view.len;
    return self;
}

static PyObject *buffer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char name[] = "buf";
    static char *names[] = {name, NULL};
    PyObject *exporter = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &exporter)) {
        return NULL;
    }
    if (exporter == NULL) {
        return (PyObject *)new_empty(type);
    }
    return (PyObject *)new_from_exporter(type, exporter);
}

static int buffer_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self_of(object)->view.obj);
    return 0;
}

/* Breaks a reference cycle through the exporter. While a view is out the memory must stay: the
 * holder of the view is part of the same cycle then, and is cleared itself. */
static int buffer_clear(PyObject *object)
{
    struct buffer *self = self_of(object);
    if (self->view.obj != NULL && self->exports == 0) {
        self->data = "";
        self->size = 0;
        self->is_slice = false;
        PyBuffer_Release(&self->view);
    }
    return 0;
}

static void buffer_dealloc(PyObject *object)
{
    struct buffer *self = self_of(object);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->view.obj != NULL) {
        PyBuffer_Release(&self->view);
    } else if (self->release != NULL) {
        self->release(self->owner);
    }
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static int buffer_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
    struct buffer *self = self_of(object);
    /* Drops const, which Py_buffer lacks; PyBuffer_FillInfo refuses to make a writable view. */
    void *data = (void *)(uintptr_t)self->data; /* NOLINT(performance-no-int-to-ptr) */
    if (PyBuffer_FillInfo(view, object, data, self->size, 1, flags) < 0) {
        return -1;
    }
    self->exports++;
    return 0;
}

static void buffer_releasebuffer(PyObject *object, Py_buffer *view)
{
    (void)view;
    self_of(object)->exports--;
}

static Py_ssize_t buffer_length(PyObject *object)
{
    return self_of(object)->size;
}

static PyObject *buffer_item(PyObject *object, Py_ssize_t index)
{
    const struct buffer *self = self_of(object);
    if (index < 0 || index >= self->size) {
        PyErr_SetString(PyExc_IndexError, "Index out of range");
        return NULL;
    }
    return PyLong_FromLong((unsigned char)self->data[index]);
}

static PyObject *slice_sharing(PyObject *object, Py_ssize_t start, Py_ssize_t count)
{
    const struct buffer *self = self_of(object);
    PyObject *root = self->is_slice ? self->view.obj : object;
    struct buffer *slice = new_from_exporter(Py_TYPE(object), root);
    if (slice != NULL) {
        slice->is_slice = true;
        slice->data = self->data + start;
        slice->size = count;
    }
    return (PyObject *)slice;
}

static PyObject *slice_copying(PyObject *object, Py_ssize_t start, Py_ssize_t step,
                               Py_ssize_t count)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, count);
    if (bytes == NULL) {
        return NULL;
    }
    const char *data = self_of(object)->data;
    char *copy = PyBytes_AsString(bytes);
    if (step == 1) {
        memcpy(copy, data + start, (size_t)count);
    }
    for (Py_ssize_t i = 0; step != 1 && i < count; i++) {
        copy[i] = data[start + i * step];
    }
    PyObject *slice = (PyObject *)new_from_exporter(Py_TYPE(object), bytes);
    Py_DECREF(bytes);
    return slice;
}

static PyObject *buffer_slice(PyObject *object, PyObject *key)
{
    Py_ssize_t start = 0;
    Py_ssize_t stop = 0;
    Py_ssize_t step = 0;
    if (PySlice_Unpack(key, &start, &stop, &step) < 0) {
        return NULL;
    }
    const Py_ssize_t count = PySlice_AdjustIndices(self_of(object)->size, &start, &stop, step);
    if (count == 0) {
        return (PyObject *)new_empty(Py_TYPE(object));
    }
    if (step == 1) {
        return slice_sharing(object, start, count);
    }
    return slice_copying(object, start, step, count);
}

static PyObject *buffer_subscript(PyObject *object, PyObject *key)
{
    if (PySlice_Check(key)) {
        return buffer_slice(object, key);
    }
    if (!PyIndex_Check(key)) {
        PyErr_SetString(PyExc_TypeError, "indices must be integers or slices");
        return NULL;
    }
    Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred() != NULL) {
        return NULL;
    }
    if (index < 0) {
        index += self_of(object)->size;
    }
    return buffer_item(object, index);
}

static int buffer_contains(PyObject *object, PyObject *needle)
{
    Py_buffer view;
    if (view_bytes(needle, &view) < 0) {
        return -1;
    }
    const struct buffer *self = self_of(object);
    bool found = view.len == 0;
    if (!found && view.len <= self->size) {
        found = memmem(self->data, (size_t)self->size, view.buf, (size_t)view.len) != NULL;
    }
    PyBuffer_Release(&view);
    return found;
}

static PyObject *buffer_compare(PyObject *object, PyObject *other, int operation)
{
    Py_buffer view;
    if ((operation != Py_EQ && operation != Py_NE) || !PyObject_CheckBuffer(other)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    if (view_bytes(other, &view) < 0) {
        /* Not plain bytes. The other type may know what equal means, as a strided view does. */
        PyErr_Clear();
        Py_RETURN_NOTIMPLEMENTED;
    }
    const struct buffer *self = self_of(object);
    bool equal = view.len == self->size;
    if (equal && view.len > 0) {
        equal = memcmp(self->data, view.buf, (size_t)view.len) == 0;
    }
    PyBuffer_Release(&view);
    return PyBool_FromLong(equal == (operation == Py_EQ));
}

static const char find_doc[] =
    "find(sub, start=0, end=sys.maxsize, /)\n--\n\n"
    "Return the lowest index of a buffer's bytes within a slice, -1 if they are not there.";

static PyObject *buffer_find(PyObject *object, PyObject *args)
{
    const struct buffer *self = self_of(object);
    PyObject *needle = NULL;
    Py_ssize_t start = 0;
    Py_ssize_t end = self->size;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "O|nn", &needle, &start, &end) || view_bytes(needle, &view) < 0) {
        return NULL;
    }
    const bool beyond = start > self->size;
    PySlice_AdjustIndices(self->size, &start, &end, 1);
    const char *found = NULL;
    if (!beyond && start <= end && view.len <= end - start) {
        const char *from = self->data + start;
        found =
            view.len == 0 ? from : memmem(from, (size_t)(end - start), view.buf, (size_t)view.len);
    }
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(found == NULL ? -1 : found - self->data);
}

static const char cut_doc[] =
    "_cut(start, end, /)\n--\n\n"
    "Return the bytes [start, end), which must be there.\n\n"
    "Few are copied, because they would keep all of the memory that they lie in alive.";

static PyObject *buffer_cut(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    const Py_ssize_t start = count == 2 ? PyNumber_AsSsize_t(args[0], NULL) : -1;
    const Py_ssize_t end = count == 2 ? PyNumber_AsSsize_t(args[1], NULL) : -1;
    if (start < 0 || end < start || end > self_of(object)->size) {
        if (PyErr_Occurred() == NULL) {
            PyErr_SetString(PyExc_IndexError, "Index out of range");
        }
        return NULL;
    }
    return end - start < CUT_SHARED ? slice_copying(object, start, 1, end - start)
                                    : slice_sharing(object, start, end - start);
}

static PyMethodDef buffer_methods[] = {
    {"_cut", FAST(buffer_cut), METH_FASTCALL, cut_doc},
    {"find", buffer_find, METH_VARARGS, find_doc},
    {NULL, NULL, 0, NULL},
};

static const char buffer_doc[] =
    "Buffer(buf=b\"\")\n--\n\n"
    "A read-only view of bytes that belong to another object or to C code, without a copy.";

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc, SLOT(buffer_doc)},
    {Py_tp_methods, buffer_methods},
    {Py_tp_new, SLOT(buffer_new)},
    {Py_tp_dealloc, SLOT(buffer_dealloc)},
    {Py_tp_traverse, SLOT(buffer_traverse)},
    {Py_tp_clear, SLOT(buffer_clear)},
    {Py_tp_richcompare, SLOT(buffer_compare)},
    {Py_tp_hash, SLOT(PyObject_HashNotImplemented)},
    {Py_bf_getbuffer, SLOT(buffer_getbuffer)},
    {Py_bf_releasebuffer, SLOT(buffer_releasebuffer)},
    {Py_mp_length, SLOT(buffer_length)},
    {Py_mp_subscript, SLOT(buffer_subscript)},
    {Py_sq_length, SLOT(buffer_length)},
    {Py_sq_item, SLOT(buffer_item)},
    {Py_sq_contains, SLOT(buffer_contains)},
    {0, NULL},
};

static PyType_Spec buffer_spec = {
    .name = "s3ext._buffer.Buffer",
    .basicsize = sizeof(struct buffer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = buffer_slots,
};

static struct state *state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

/* The type argument of wrap, or NULL with TypeError set. */
static PyTypeObject *checked_type(PyObject *module, PyObject *argument)
{
    PyTypeObject *base = state_of(module)->buffer_type;
    if (!PyType_Check(argument) || !PyType_IsSubtype((PyTypeObject *)argument, base)) {
        PyErr_SetString(PyExc_TypeError, "wrap: type must be Buffer or a subclass of it");
        return NULL;
    }
    return (PyTypeObject *)argument;
}

static const char wrap_doc[] =
    "wrap(type, address, size, owner_address, release_address, /)\n--\n\n"
    "Show memory that C code owns as an object of a type: Buffer or a subclass of it.\n\n"
    "void release(void *owner) is called once, when the object dies. If wrap itself raises, it\n"
    "is not called and the memory still belongs to the caller.";

static PyObject *wrap(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5) {
        PyErr_Format(PyExc_TypeError, "wrap takes 5 arguments (%zd given)", count);
        return NULL;
    }
    PyTypeObject *type = checked_type(module, args[0]);
    if (type == NULL) {
        return NULL;
    }
    const char *data = PyLong_AsVoidPtr(args[1]);
    const Py_ssize_t size = PyLong_AsSsize_t(args[2]);
    void *owner = PyLong_AsVoidPtr(args[3]);
    const uintptr_t release = (uintptr_t)PyLong_AsVoidPtr(args[4]);
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    if (size < 0 || (data == NULL && size != 0) || release == 0) {
        PyErr_SetString(PyExc_ValueError, "wrap: negative size, no address or no release function");
        return NULL;
    }
    struct buffer *self = new_empty(type);
    if (self == NULL) {
        return NULL;
    }
    if (data != NULL) {
        self->data = data;
    }
    self->size = size;
    self->owner = owner;
    self->release = (release_function)release; /* NOLINT(performance-no-int-to-ptr) */
    return (PyObject *)self;
}

/* Takes a page from the arguments of a function that wants nothing else. */
static bool is_page(PyObject *const *args, Py_ssize_t count, struct s3_page *page)
{
    if (count != 3) {
        PyErr_Format(PyExc_TypeError, "a page takes 3 arguments (%zd given)", count);
        return false;
    }
    return s3i_page_from(args, page);
}

static const char page_rows_doc[] =
    "page_rows(address, skip, raw, /)\n--\n\n"
    "Return a page's objects as ObjectMeta dicts.\n\n"
    "The page is a struct s3ext_result that stays for the length of the call; skip is the number\n"
    "of bytes of each key that are the store's prefix; raw keys keep a trailing '/'.";

static PyObject *page_rows(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct s3_page page;
    return is_page(args, count, &page) ? s3i_rows_of(&state_of(module)->rows, &page) : NULL;
}

static const char page_prefixes_doc[] = "page_prefixes(address, skip, raw, /)\n--\n\n"
                                        "Return a page's common prefixes; see page_rows.";

static PyObject *page_prefixes(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct s3_page page;
    (void)module;
    return is_page(args, count, &page) ? s3i_prefixes_of(&page) : NULL;
}

static const char answer_doc[] =
    "answer(address, path, /)\n--\n\n"
    "Return what a read or a HEAD ended in: (code, start, end, meta, headers, address, size,\n"
    "capacity, owner).\n\n"
    "The address is that of a struct s3ext_result that stays for the length of the call. meta is\n"
    "the ObjectMeta of the path, headers a pair block; both are None after an error, or where the\n"
    "path is None. The last four are those of the first slice, 0 where there is none.";

static PyObject *answer(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "answer takes 2 arguments (%zd given)", count);
        return NULL;
    }
    const struct s3ext_result *result = PyLong_AsVoidPtr(args[0]);
    if (result == NULL) {
        if (PyErr_Occurred() == NULL) {
            PyErr_SetString(PyExc_ValueError, "a result has an address");
        }
        return NULL;
    }
    return s3i_answer_of(&state_of(module)->rows, result, args[1]);
}

static const char arrow_rows_doc[] =
    "arrow_rows(type, address, skip, raw, /)\n--\n\n"
    "Return a page's objects as an instance of a type: ArrowRows or a subclass of it.\n\n"
    "The other arguments are those of page_rows.";

static PyObject *arrow_rows(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct s3_page page;
    if (count != 4) {
        PyErr_Format(PyExc_TypeError, "arrow_rows takes 4 arguments (%zd given)", count);
        return NULL;
    }
    if (!s3i_arrow_type_check(args[0], state_of(module)->arrow_type) ||
        !s3i_page_from(args + 1, &page)) {
        return NULL;
    }
    return s3i_arrow_from_page((PyTypeObject *)args[0], &page);
}

static bool is_list(PyObject *object)
{
    if (!PyList_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "ArrowRows are given in a list");
        return false;
    }
    return true;
}

static const char arrow_join_doc[] = "arrow_join(type, list, /)\n--\n\n"
                                     "Return the rows of a list of ArrowRows in one batch.";

static PyObject *arrow_join(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyTypeObject *base = state_of(module)->arrow_type;
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "arrow_join takes 2 arguments (%zd given)", count);
        return NULL;
    }
    if (!s3i_arrow_type_check(args[0], base) || !is_list(args[1])) {
        return NULL;
    }
    return s3i_arrow_joined((PyTypeObject *)args[0], base, args[1]);
}

static const char arrow_stream_doc[] =
    "arrow_stream(list, /)\n--\n\n"
    "Return an Arrow stream of the batches in a list of ArrowRows, in a capsule.";

static PyObject *arrow_stream(PyObject *module, PyObject *list)
{
    return is_list(list) ? s3i_arrow_stream(state_of(module)->arrow_type, list) : NULL;
}

static const char arrow_schema_doc[] = "arrow_schema()\n--\n\n"
                                       "Return the Arrow schema of all ArrowRows, in a capsule.";

static PyObject *arrow_schema(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return s3i_arrow_schema();
}

/* A type of the module's, made and added; NULL with a Python error set. */
static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

static int module_exec(PyObject *module)
{
    struct state *state = state_of(module);
    state->buffer_type = add_type(module, &buffer_spec);
    if (state->buffer_type == NULL) {
        return -1;
    }
    state->arrow_type = add_type(module, &s3i_arrow_spec);
    return state->arrow_type == NULL ? -1 : s3i_rows_init(&state->rows);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(state_of(module)->buffer_type);
    Py_VISIT(state_of(module)->arrow_type);
    return s3i_rows_traverse(&state_of(module)->rows, visit, arg);
}

static int module_clear(PyObject *module)
{
    Py_CLEAR(state_of(module)->buffer_type);
    Py_CLEAR(state_of(module)->arrow_type);
    s3i_rows_clear(&state_of(module)->rows);
    return 0;
}

static void module_free(void *module)
{
    (void)module_clear(module);
}

static PyMethodDef module_methods[] = {
    {"wrap", FAST(wrap), METH_FASTCALL, wrap_doc},
    {"answer", FAST(answer), METH_FASTCALL, answer_doc},
    {"page_rows", FAST(page_rows), METH_FASTCALL, page_rows_doc},
    {"page_prefixes", FAST(page_prefixes), METH_FASTCALL, page_prefixes_doc},
    {"arrow_rows", FAST(arrow_rows), METH_FASTCALL, arrow_rows_doc},
    {"arrow_join", FAST(arrow_join), METH_FASTCALL, arrow_join_doc},
    {"arrow_stream", arrow_stream, METH_O, arrow_stream_doc},
    {"arrow_schema", arrow_schema, METH_NOARGS, arrow_schema_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, SLOT(module_exec)},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_buffer",
    .m_doc = "Bytes without copies, and the pages of listings as dicts or Arrow columns.",
    .m_size = sizeof(struct state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__buffer(void);

PyMODINIT_FUNC PyInit__buffer(void)
{
    return PyModuleDef_Init(&module_definition);
}
