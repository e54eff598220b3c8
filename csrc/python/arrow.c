/*
 * arrow: see arrow.h.
 *
 * The structs are those of the Arrow specification, which asks that they be copied. A batch holds
 * for each column what the interface wants for it: validity bits (or NULL), offsets or values, and
 * bytes. A slice hands out the same buffers with an offset in each column, not in the struct around
 * them, because every reader of the interface knows the former.
 *
 * Arrow's Utf8 is always valid: bytes of a key that are none become U+FFFD.
 */
#include "python/arrow.h"

#include <errno.h> /* ENOMEM */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARROW_FLAG_NULLABLE 2

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

enum { PATH, LAST_MODIFIED, SIZE, E_TAG, VERSION, COLUMNS };
enum { BUFFERS_MAX = 3, ALIGNMENT = 64 };

static const struct {
    const char *name, *format;
    int64_t flags, buffers;
} COLUMN[COLUMNS] = {
    {"path", "u", 0, 3},
    {"last_modified", "tsu:UTC", 0, 2},
    {"size", "L", 0, 2},
    {"e_tag", "u", ARROW_FLAG_NULLABLE, 3},
    {"version", "u", ARROW_FLAG_NULLABLE, 3},
};

/* ---- Batches ---- */

struct batch {
    atomic_size_t references;
    size_t rows; /* so far, while it is filled */
    size_t e_tags;
    int32_t *path_ends, *e_tag_ends; /* offsets: the one at row + 1 is the end of the row's text */
    char *paths, *e_tag_text;
    int64_t *times;
    uint64_t *sizes;
    unsigned char *e_tag_bits;
    const void *buffers[COLUMNS][BUFFERS_MAX];
};

/* One piece of the block behind a batch; NULL while the sizes are added up. */
static void *carve(char *block, size_t *used, size_t size)
{
    void *piece = block != NULL ? block + *used : NULL;
    *used += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return piece;
}

/* Divides a block; returns the bytes that it takes. */
static size_t lay_out(struct batch *batch, size_t rows, size_t path_bytes, size_t e_tag_bytes)
{
    char *block = (char *)batch;
    struct batch layout = {.rows = 0};
    size_t used = 0;
    (void)carve(block, &used, sizeof(*batch));
    /* What has to be zero: the bits, the first offsets, and all of a version. */
    layout.e_tag_bits = carve(block, &used, rows / 8 + 1);
    void *version_bits = carve(block, &used, rows / 8 + 1);
    void *version_ends = carve(block, &used, (rows + 1) * sizeof(int32_t));
    layout.path_ends = carve(block, &used, (rows + 1) * sizeof(int32_t));
    layout.e_tag_ends = carve(block, &used, (rows + 1) * sizeof(int32_t));
    layout.times = carve(block, &used, rows * sizeof(int64_t));
    layout.sizes = carve(block, &used, rows * sizeof(uint64_t));
    layout.paths = carve(block, &used, path_bytes + 1);
    layout.e_tag_text = carve(block, &used, e_tag_bytes + 1);
    if (batch != NULL) {
        memset(layout.e_tag_bits, 0,
               (size_t)((char *)layout.path_ends - block) -
                   (size_t)((char *)layout.e_tag_bits - block));
        layout.path_ends[0] = 0;
        layout.e_tag_ends[0] = 0;
        const void *const buffers[COLUMNS][BUFFERS_MAX] = {
            {NULL, layout.path_ends, layout.paths},
            {NULL, layout.times},
            {NULL, layout.sizes},
            {layout.e_tag_bits, layout.e_tag_ends, layout.e_tag_text},
            {version_bits, version_ends, ""},
        };
        memcpy(layout.buffers, buffers, sizeof(buffers));
        *batch = layout;
        atomic_init(&batch->references, 1);
    }
    return used;
}

/* An empty batch with room, and one reference; NULL with a Python error set. */
static struct batch *batch_new(size_t rows, size_t path_bytes, size_t e_tag_bytes)
{
    if (rows >= INT32_MAX || path_bytes > INT32_MAX || e_tag_bytes > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError,
                        "an Arrow batch holds less than 2 GiB of text: take smaller chunks");
        return NULL;
    }
    struct batch *batch = aligned_alloc(ALIGNMENT, lay_out(NULL, rows, path_bytes, e_tag_bytes));
    if (batch == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    lay_out(batch, rows, path_bytes, e_tag_bytes);
    return batch;
}

static void batch_keep(struct batch *batch)
{
    atomic_fetch_add_explicit(&batch->references, 1, memory_order_relaxed);
}

static void batch_drop(struct batch *batch)
{
    if (atomic_fetch_sub_explicit(&batch->references, 1, memory_order_acq_rel) == 1) {
        free(batch);
    }
}

static bool is_ascii(const char *text, size_t size)
{
    unsigned char all = 0;
    for (size_t i = 0; i < size; i++) {
        all |= (unsigned char)text[i];
    }
    return all < 0x80;
}

/* Appends a text to a column, as UTF-8; 0, or -1 with a Python error set. */
static int put_text(char *column, int32_t *ends, size_t row, const char *text, size_t size,
                    bool ascii)
{
    char *to = column + ends[row];
    if (ascii || is_ascii(text, size)) {
        memcpy(to, text, size);
        ends[row + 1] = ends[row] + (int32_t)size;
        return 0;
    }
    PyObject *decoded = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
    Py_ssize_t valid = 0;
    const char *utf8 = decoded != NULL ? PyUnicode_AsUTF8AndSize(decoded, &valid) : NULL;
    if (utf8 != NULL) {
        memcpy(to, utf8, (size_t)valid);
        ends[row + 1] = ends[row] + (int32_t)valid;
    }
    Py_XDECREF(decoded);
    return utf8 != NULL ? 0 : -1;
}

static int put_row(struct batch *batch, const struct s3_page *page,
                   const struct s3ext_list_entry *entry, bool ascii)
{
    const size_t row = batch->rows;
    size_t size = 0;
    const char *path = s3i_page_path(page, entry, &size);
    batch->times[row] = entry->last_modified_us;
    batch->sizes[row] = entry->size;
    if (entry->etag_size != 0) {
        batch->e_tag_bits[row / 8] |= (unsigned char)(1u << row % 8);
        batch->e_tags++;
    }
    batch->rows++;
    return put_text(batch->paths, batch->path_ends, row, path, size, ascii) < 0 ||
                   put_text(batch->e_tag_text, batch->e_tag_ends, row,
                            page->result->text + entry->etag_offset, entry->etag_size, ascii) < 0
               ? -1
               : 0;
}

static struct batch *batch_from_page(const struct s3_page *page)
{
    const struct s3ext_result *result = page->result;
    const bool ascii = is_ascii(result->text, result->text_size); /* most pages are, as a whole */
    size_t path_bytes = 0;
    size_t e_tag_bytes = 0;
    for (size_t i = 0; i < result->object_count; i++) {
        path_bytes += result->objects[i].key_size;
        e_tag_bytes += result->objects[i].etag_size;
    }
    /* What is no UTF-8 becomes U+FFFD, a byte three. */
    const size_t growth = ascii ? 1 : 3;
    struct batch *batch =
        batch_new(result->object_count, growth * path_bytes, growth * e_tag_bytes);
    for (size_t i = 0; batch != NULL && i < result->object_count; i++) {
        if (put_row(batch, page, &result->objects[i], ascii) < 0) {
            batch_drop(batch);
            return NULL;
        }
    }
    return batch;
}

/* ---- Handing out: every release works without the interpreter ---- */

static void release_column_schema(struct ArrowSchema *schema)
{
    schema->release = NULL; /* its texts are constants, its memory is the parent's */
}

static void release_schema(struct ArrowSchema *schema)
{
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release != NULL) {
            schema->children[i]->release(schema->children[i]);
        }
    }
    free(schema->private_data);
    schema->release = NULL;
}

/* 0, or ENOMEM as the stream interface wants it. */
static int export_schema(struct ArrowSchema *out)
{
    struct children {
        struct ArrowSchema *pointers[COLUMNS];
        struct ArrowSchema columns[COLUMNS];
    } *children = malloc(sizeof(*children));
    if (children == NULL) {
        return ENOMEM;
    }
    for (size_t i = 0; i < COLUMNS; i++) {
        children->pointers[i] = &children->columns[i];
        children->columns[i] = (struct ArrowSchema){.format = COLUMN[i].format,
                                                    .name = COLUMN[i].name,
                                                    .flags = COLUMN[i].flags,
                                                    .release = release_column_schema};
    }
    *out = (struct ArrowSchema){.format = "+s",
                                .name = "",
                                .n_children = COLUMNS,
                                .children = children->pointers,
                                .release = release_schema,
                                .private_data = children};
    return 0;
}

static void release_column(struct ArrowArray *array)
{
    batch_drop(array->private_data);
    array->release = NULL;
}

/* A column that somebody moved out of its parent has its own reference of the batch. */
static void release_array(struct ArrowArray *array)
{
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release != NULL) {
            array->children[i]->release(array->children[i]);
        }
    }
    free(array->private_data);
    array->release = NULL;
}

/* Some rows of a batch. */
struct rows {
    struct batch *batch;
    size_t start, count;
};

static int64_t null_count(const struct rows *rows, size_t column)
{
    if (column == VERSION) {
        return (int64_t)rows->count;
    }
    if (column == E_TAG && rows->batch->e_tags != rows->batch->rows) {
        return -1; /* whoever wants to know counts the bits */
    }
    return 0;
}

static int export_array(const struct rows *rows, struct ArrowArray *out)
{
    static const void *no_validity[1] = {NULL};
    struct children {
        struct ArrowArray *pointers[COLUMNS];
        struct ArrowArray columns[COLUMNS];
    } *children = malloc(sizeof(*children));
    if (children == NULL) {
        return ENOMEM;
    }
    for (size_t i = 0; i < COLUMNS; i++) {
        batch_keep(rows->batch);
        children->pointers[i] = &children->columns[i];
        children->columns[i] = (struct ArrowArray){.length = (int64_t)rows->count,
                                                   .null_count = null_count(rows, i),
                                                   .offset = (int64_t)rows->start,
                                                   .n_buffers = COLUMN[i].buffers,
                                                   .buffers = rows->batch->buffers[i],
                                                   .release = release_column,
                                                   .private_data = rows->batch};
    }
    *out = (struct ArrowArray){.length = (int64_t)rows->count,
                               .n_buffers = 1,
                               .n_children = COLUMNS,
                               .buffers = no_validity,
                               .children = children->pointers,
                               .release = release_array,
                               .private_data = children};
    return 0;
}

/* ---- Streams ---- */

struct stream {
    size_t count, next;
    struct rows parts[]; /* those from `next` on hold references */
};

static int stream_get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    (void)stream;
    return export_schema(out);
}

static int stream_get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct stream *state = stream->private_data;
    if (state->next == state->count) {
        *out = (struct ArrowArray){.release = NULL};
        return 0;
    }
    const int code = export_array(&state->parts[state->next], out);
    if (code == 0) {
        batch_drop(state->parts[state->next++].batch);
    }
    return code;
}

static const char *stream_get_last_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return "out of memory"; /* nothing else can fail */
}

static void stream_release(struct ArrowArrayStream *stream)
{
    struct stream *state = stream->private_data;
    while (state->next < state->count) {
        batch_drop(state->parts[state->next++].batch);
    }
    free(state);
    stream->release = NULL;
}

/* ---- Capsules: they own what nobody has moved out of them ---- */

#define CAPSULE_DESTRUCTOR(function, type, name)                                                   \
    static void function(PyObject *capsule)                                                        \
    {                                                                                              \
        struct type *value = PyCapsule_GetPointer(capsule, name);                                  \
        if (value->release != NULL) {                                                              \
            value->release(value);                                                                 \
        }                                                                                          \
        free(value);                                                                               \
    }

CAPSULE_DESTRUCTOR(drop_schema, ArrowSchema, "arrow_schema")
CAPSULE_DESTRUCTOR(drop_array, ArrowArray, "arrow_array")
CAPSULE_DESTRUCTOR(drop_stream, ArrowArrayStream, "arrow_array_stream")

PyObject *s3i_arrow_schema(void)
{
    struct ArrowSchema *schema = malloc(sizeof(*schema));
    if (schema == NULL || export_schema(schema) != 0) {
        free(schema);
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(schema, "arrow_schema", drop_schema);
    if (capsule == NULL) {
        schema->release(schema);
        free(schema);
    }
    return capsule;
}

static PyObject *array_capsule(const struct rows *rows)
{
    struct ArrowArray *array = malloc(sizeof(*array));
    if (array == NULL || export_array(rows, array) != 0) {
        free(array);
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(array, "arrow_array", drop_array);
    if (capsule == NULL) {
        array->release(array);
        free(array);
    }
    return capsule;
}

static PyObject *stream_capsule(struct stream *state)
{
    struct ArrowArrayStream *stream = malloc(sizeof(*stream));
    struct ArrowArrayStream made = {stream_get_schema, stream_get_next, stream_get_last_error,
                                    stream_release, state};
    if (stream == NULL) {
        made.release(&made);
        return PyErr_NoMemory();
    }
    *stream = made;
    PyObject *capsule = PyCapsule_New(stream, "arrow_array_stream", drop_stream);
    if (capsule == NULL) {
        stream->release(stream);
        free(stream);
    }
    return capsule;
}

/* ---- The type ---- */

struct arrow_rows {
    PyObject head;
    struct rows rows;
};

static struct rows *rows_of(PyObject *object)
{
    return &((struct arrow_rows *)object)->rows;
}

/* A new object; it takes the reference of the batch, also when it cannot be made. */
static PyObject *object_from(PyTypeObject *type, struct batch *batch, size_t start, size_t count)
{
    PyObject *object = batch != NULL ? PyType_GenericAlloc(type, 0) : NULL;
    if (object != NULL) {
        *rows_of(object) = (struct rows){batch, start, count};
    } else if (batch != NULL) {
        batch_drop(batch);
    }
    return object;
}

static void arrow_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    /* Which of the two it is depends on whether a subclass is known to the collector. */
    const uintptr_t slot = (uintptr_t)PyType_GetSlot(type, Py_tp_free);
    const freefunc release = (freefunc)slot; /* NOLINT(performance-no-int-to-ptr) */
    batch_drop(rows_of(object)->batch);
    release(object);
    Py_DECREF(type);
}

static Py_ssize_t arrow_length(PyObject *object)
{
    return (Py_ssize_t)rows_of(object)->count;
}

static PyObject *arrow_slice(PyObject *object, PyObject *key)
{
    Py_ssize_t start = 0;
    Py_ssize_t stop = 0;
    Py_ssize_t step = 0;
    if (!PySlice_Check(key)) {
        PyErr_SetString(PyExc_TypeError, "a batch is cut by slices only");
        return NULL;
    }
    if (PySlice_Unpack(key, &start, &stop, &step) < 0) {
        return NULL;
    }
    if (step != 1) {
        PyErr_SetString(PyExc_ValueError, "a batch is cut into slices of step 1 only");
        return NULL;
    }
    const struct rows *rows = rows_of(object);
    const Py_ssize_t count = PySlice_AdjustIndices((Py_ssize_t)rows->count, &start, &stop, step);
    batch_keep(rows->batch);
    return object_from(Py_TYPE(object), rows->batch, rows->start + (size_t)start, (size_t)count);
}

static PyObject *arrow_c_schema(PyObject *object, PyObject *ignored)
{
    (void)object;
    (void)ignored;
    return s3i_arrow_schema();
}

/* The schema that a caller requests is a wish, which the interface allows to pass over. */
static bool takes_request(PyObject *args, PyObject *kwargs)
{
    static char name[] = "requested_schema";
    static char *names[] = {name, NULL};
    PyObject *ignored = NULL;
    return PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &ignored);
}

static PyObject *arrow_c_array(PyObject *object, PyObject *args, PyObject *kwargs)
{
    if (!takes_request(args, kwargs)) {
        return NULL;
    }
    PyObject *schema = s3i_arrow_schema();
    PyObject *array = schema != NULL ? array_capsule(rows_of(object)) : NULL;
    PyObject *both = array != NULL ? PyTuple_Pack(2, schema, array) : NULL;
    Py_XDECREF(schema);
    Py_XDECREF(array);
    return both;
}

/* Room for the stream of some parts; NULL with a Python error set. */
static struct stream *stream_new(Py_ssize_t capacity)
{
    struct stream *state = malloc(sizeof(*state) + (size_t)capacity * sizeof(state->parts[0]));
    if (state == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    state->count = 0;
    state->next = 0;
    return state;
}

static void stream_add(struct stream *state, const struct rows *rows)
{
    batch_keep(rows->batch);
    state->parts[state->count++] = *rows;
}

static PyObject *arrow_c_stream(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct stream *state = takes_request(args, kwargs) ? stream_new(1) : NULL;
    if (state == NULL) {
        return NULL;
    }
    stream_add(state, rows_of(object));
    return stream_capsule(state);
}

/* PyType_Slot holds functions as void *, a conversion that ISO C has only through an integer. */
#define SLOT(function) ((void *)(uintptr_t)(function)) /* NOLINT(performance-no-int-to-ptr) */
#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef arrow_methods[] = {
    {"__arrow_c_schema__", arrow_c_schema, METH_NOARGS, "The schema, in a capsule."},
    {"__arrow_c_array__", METHOD(arrow_c_array), METH_VARARGS | METH_KEYWORDS,
     "The schema and the rows as one struct array, in capsules."},
    {"__arrow_c_stream__", METHOD(arrow_c_stream), METH_VARARGS | METH_KEYWORDS,
     "The rows as a stream of one batch, in a capsule."},
    {NULL, NULL, 0, NULL},
};

static const char arrow_doc[] = "Rows of a listing in Arrow columns; made by arrow_rows.";

static PyType_Slot arrow_slots[] = {
    {Py_tp_doc, SLOT(arrow_doc)},         {Py_tp_dealloc, SLOT(arrow_dealloc)},
    {Py_tp_methods, arrow_methods},       {Py_mp_length, SLOT(arrow_length)},
    {Py_mp_subscript, SLOT(arrow_slice)}, {0, NULL},
};

PyType_Spec s3i_arrow_spec = {
    .name = "s3ext._buffer.ArrowRows",
    .basicsize = sizeof(struct arrow_rows),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = arrow_slots,
};

bool s3i_arrow_type_check(PyObject *type, PyTypeObject *base)
{
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, base)) {
        PyErr_SetString(PyExc_TypeError, "the type must be ArrowRows or a subclass of it");
        return false;
    }
    return true;
}

PyObject *s3i_arrow_from_page(PyTypeObject *type, const struct s3_page *page)
{
    struct batch *batch = batch_from_page(page);
    return object_from(type, batch, 0, batch != NULL ? batch->rows : 0);
}

/* ---- Lists of such objects ---- */

/* The rows of an item, or NULL with a Python error set. */
static const struct rows *rows_at(PyObject *list, Py_ssize_t index, PyTypeObject *base)
{
    PyObject *item = PyList_GetItem(list, index);
    if (item == NULL) {
        return NULL;
    }
    if (!PyObject_TypeCheck(item, base)) {
        PyErr_SetString(PyExc_TypeError, "the list must hold ArrowRows only");
        return NULL;
    }
    return rows_of(item);
}

static void append_text(char *column, int32_t *ends, size_t row, const char *from,
                        const int32_t *from_ends, const struct rows *rows)
{
    const int32_t first = from_ends[rows->start];
    memcpy(column + ends[row], from + first,
           (size_t)(from_ends[rows->start + rows->count] - first));
    for (size_t i = 1; i <= rows->count; i++) {
        ends[row + i] = ends[row] + from_ends[rows->start + i] - first;
    }
}

static void append_rows(struct batch *batch, const struct rows *rows)
{
    const struct batch *from = rows->batch;
    const size_t row = batch->rows;
    append_text(batch->paths, batch->path_ends, row, from->paths, from->path_ends, rows);
    append_text(batch->e_tag_text, batch->e_tag_ends, row, from->e_tag_text, from->e_tag_ends,
                rows);
    memcpy(batch->times + row, from->times + rows->start, rows->count * sizeof(*batch->times));
    memcpy(batch->sizes + row, from->sizes + rows->start, rows->count * sizeof(*batch->sizes));
    for (size_t i = 0; i < rows->count; i++) {
        const size_t old = rows->start + i;
        const unsigned bit = from->e_tag_bits[old / 8] >> old % 8 & 1;
        batch->e_tag_bits[(row + i) / 8] |= (unsigned char)(bit << (row + i) % 8);
        batch->e_tags += bit;
    }
    batch->rows += rows->count;
}

PyObject *s3i_arrow_joined(PyTypeObject *type, PyTypeObject *base, PyObject *list)
{
    size_t count = 0;
    size_t path_bytes = 0;
    size_t e_tag_bytes = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        const struct rows *rows = rows_at(list, i, base);
        if (rows == NULL) {
            return NULL;
        }
        const struct batch *batch = rows->batch;
        const size_t end = rows->start + rows->count;
        count += rows->count;
        path_bytes += (size_t)(batch->path_ends[end] - batch->path_ends[rows->start]);
        e_tag_bytes += (size_t)(batch->e_tag_ends[end] - batch->e_tag_ends[rows->start]);
    }
    struct batch *batch = batch_new(count, path_bytes, e_tag_bytes);
    for (Py_ssize_t i = 0; batch != NULL && i < PyList_Size(list); i++) {
        append_rows(batch, rows_of(PyList_GetItem(list, i)));
    }
    return object_from(type, batch, 0, count);
}

PyObject *s3i_arrow_stream(PyTypeObject *base, PyObject *list)
{
    struct stream *state = stream_new(PyList_Size(list));
    if (state == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        const struct rows *rows = rows_at(list, i, base);
        if (rows == NULL) {
            struct ArrowArrayStream unused = {.private_data = state};
            stream_release(&unused);
            return NULL;
        }
        stream_add(state, rows);
    }
    return stream_capsule(state);
}
