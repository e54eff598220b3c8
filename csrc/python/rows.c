/*
 * rows: see rows.h.
 *
 * What a row costs was measured, and decides its form: a copy of a dict that has all its keys
 * already, and datetime.fromisoformat, which takes half of what datetime() does with eight
 * arguments.
 */
#include "python/rows.h"

#include "base/time.h"

/* The years 1 to 9999, which datetime knows. */
static const int64_t FIRST_SECOND = -62135596800;
static const int64_t LAST_SECOND = 253402300799;

int s3i_rows_init(struct s3_rows *rows)
{
    PyObject *datetime = PyImport_ImportModule("datetime");
    PyObject *type = datetime != NULL ? PyObject_GetAttrString(datetime, "datetime") : NULL;
    rows->from_text = type != NULL ? PyObject_GetAttrString(type, "fromisoformat") : NULL;
    Py_XDECREF(type);
    Py_XDECREF(datetime);
    rows->path = PyUnicode_InternFromString("path");
    rows->last_modified = PyUnicode_InternFromString("last_modified");
    rows->size = PyUnicode_InternFromString("size");
    rows->e_tag = PyUnicode_InternFromString("e_tag");
    rows->version = PyUnicode_InternFromString("version");
    PyObject *const keys[] = {rows->path, rows->last_modified, rows->size, rows->e_tag,
                              rows->version};
    rows->blank = PyDict_New();
    int code = rows->from_text == NULL || rows->blank == NULL ? -1 : 0;
    for (size_t i = 0; code == 0 && i < sizeof(keys) / sizeof(keys[0]); i++) {
        code = keys[i] == NULL ? -1 : PyDict_SetItem(rows->blank, keys[i], Py_None);
    }
    return code;
}

int s3i_rows_traverse(const struct s3_rows *rows, visitproc visit, void *arg)
{
    Py_VISIT(rows->blank);
    Py_VISIT(rows->from_text);
    return 0;
}

void s3i_rows_clear(struct s3_rows *rows)
{
    Py_CLEAR(rows->blank);
    Py_CLEAR(rows->path);
    Py_CLEAR(rows->last_modified);
    Py_CLEAR(rows->size);
    Py_CLEAR(rows->e_tag);
    Py_CLEAR(rows->version);
    Py_CLEAR(rows->from_text);
}

bool s3i_page_from(PyObject *const *args, struct s3_page *page)
{
    page->result = PyLong_AsVoidPtr(args[0]);
    const Py_ssize_t skip = PyLong_AsSsize_t(args[1]);
    const int raw = PyObject_IsTrue(args[2]);
    page->skip = (size_t)skip;
    page->raw = raw == 1;
    if (PyErr_Occurred() != NULL) {
        return false;
    }
    if (page->result == NULL || skip < 0) {
        PyErr_SetString(PyExc_ValueError, "a page has an address, and skips no fewer than 0 bytes");
        return false;
    }
    return true;
}

const char *s3i_page_path(const struct s3_page *page, const struct s3ext_list_entry *entry,
                          size_t *size)
{
    const size_t skip = page->skip < entry->key_size ? page->skip : entry->key_size;
    if (entry->key_size == skip) {
        *size = 0;
        return "";
    }
    const char *path = page->result->text + entry->key_offset + skip;
    *size = entry->key_size - skip;
    *size -= !page->raw && path[*size - 1] == '/';
    return path;
}

static char *put_digits(char *at, int number, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + width;
}

/* Writes a time as "2024-02-29T12:30:15Z", with microseconds where there are any; its size. */
static size_t put_time(char *text, int64_t seconds, int microseconds)
{
    const struct s3_utc utc = s3i_utc_from_epoch(seconds);
    char *at = put_digits(text, utc.year, 4);
    *at++ = '-';
    at = put_digits(at, utc.month, 2);
    *at++ = '-';
    at = put_digits(at, utc.day, 2);
    *at++ = 'T';
    at = put_digits(at, utc.hour, 2);
    *at++ = ':';
    at = put_digits(at, utc.minute, 2);
    *at++ = ':';
    at = put_digits(at, utc.second, 2);
    if (microseconds != 0) {
        *at++ = '.';
        at = put_digits(at, microseconds, 6);
    }
    *at++ = 'Z';
    return (size_t)(at - text);
}

/* An aware datetime in UTC. */
static PyObject *time_from(const struct s3_rows *rows, int64_t seconds, int microseconds)
{
    if (seconds < FIRST_SECOND || seconds > LAST_SECOND) {
        PyErr_SetString(PyExc_ValueError, "a time of the answer is not in the years 1 to 9999");
        return NULL;
    }
    char buffer[32];
    const size_t size = put_time(buffer, seconds, microseconds);
    PyObject *text = PyUnicode_FromStringAndSize(buffer, (Py_ssize_t)size);
    if (text == NULL) {
        return NULL;
    }
    PyObject *time = PyObject_CallFunctionObjArgs(rows->from_text, text, NULL);
    Py_DECREF(text);
    return time;
}

/* Keys are bytes: what is not UTF-8 comes back as the same bytes when the path is encoded. */
static PyObject *path_from(const struct s3_page *page, const struct s3ext_list_entry *entry)
{
    size_t size = 0;
    const char *path = s3i_page_path(page, entry, &size);
    return PyUnicode_DecodeUTF8(path, (Py_ssize_t)size, "surrogateescape");
}

static PyObject *new_none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *e_tag_from(const struct s3_page *page, const struct s3ext_list_entry *entry)
{
    return entry->etag_size == 0
               ? new_none()
               : PyUnicode_DecodeUTF8(page->result->text + entry->etag_offset,
                                      (Py_ssize_t)entry->etag_size, "replace");
}

/* Puts a value, whose reference is taken, which may be NULL; 0 or -1. */
static int put(PyObject *row, PyObject *key, PyObject *value)
{
    const int code = value == NULL ? -1 : PyDict_SetItem(row, key, value);
    Py_XDECREF(value);
    return code;
}

static PyObject *row_from(const struct s3_rows *rows, const struct s3_page *page,
                          const struct s3ext_list_entry *entry)
{
    int64_t seconds = entry->last_modified_us / 1000000;
    int microseconds = (int)(entry->last_modified_us % 1000000);
    if (microseconds < 0) {
        microseconds += 1000000;
        seconds--;
    }
    PyObject *row = PyDict_Copy(rows->blank);
    if (row != NULL &&
        (put(row, rows->path, path_from(page, entry)) < 0 ||
         put(row, rows->last_modified, time_from(rows, seconds, microseconds)) < 0 ||
         put(row, rows->size, PyLong_FromUnsignedLongLong(entry->size)) < 0 ||
         put(row, rows->e_tag, e_tag_from(page, entry)) < 0)) {
        Py_CLEAR(row);
    }
    return row;
}

/* A text of the answer's, None where it is NULL. */
static PyObject *text_from(const char *text, size_t size)
{
    return text == NULL ? new_none() : PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
}

static PyObject *meta_from(const struct s3_rows *rows, const struct s3ext_result *result,
                           PyObject *path)
{
    const int64_t seconds = result->last_modified == INT64_MIN ? 0 : result->last_modified;
    PyObject *meta = PyDict_Copy(rows->blank);
    if (meta != NULL &&
        (PyDict_SetItem(meta, rows->path, path) < 0 ||
         put(meta, rows->last_modified, time_from(rows, seconds, 0)) < 0 ||
         put(meta, rows->size, PyLong_FromUnsignedLongLong(result->object_size)) < 0 ||
         put(meta, rows->e_tag, text_from(result->etag, result->etag_size)) < 0 ||
         put(meta, rows->version, text_from(result->version, result->version_size)) < 0)) {
        Py_CLEAR(meta);
    }
    return meta;
}

PyObject *s3i_answer_of(const struct s3_rows *rows, const struct s3ext_result *result,
                        PyObject *path)
{
    static const struct s3ext_slice none = {0};
    const struct s3ext_slice *slice = result->slice_count != 0 ? result->slices : &none;
    const bool told = path != Py_None && result->code == 0;
    PyObject *meta = told ? meta_from(rows, result, path) : new_none();
    PyObject *headers = told ? PyBytes_FromStringAndSize(result->headers,
                                                         (Py_ssize_t)result->headers_size)
                             : new_none();
    if (meta == NULL || headers == NULL) {
        Py_XDECREF(meta);
        Py_XDECREF(headers);
        return NULL;
    }
    return Py_BuildValue("iKKNNKKKK", (int)result->code, (unsigned long long)result->range_start,
                         (unsigned long long)result->range_end, meta, headers,
                         (unsigned long long)(uintptr_t)slice->data,
                         (unsigned long long)slice->size, (unsigned long long)slice->capacity,
                         (unsigned long long)(uintptr_t)slice->memory);
}

/* Puts an item, whose reference is taken, into a new list; false when there is none. */
static bool set_item(PyObject *list, size_t index, PyObject *item)
{
    return item != NULL && PyList_SetItem(list, (Py_ssize_t)index, item) == 0;
}

PyObject *s3i_rows_of(const struct s3_rows *rows, const struct s3_page *page)
{
    const struct s3ext_result *result = page->result;
    PyObject *objects = PyList_New((Py_ssize_t)result->object_count);
    bool ok = objects != NULL;
    for (size_t i = 0; ok && i < result->object_count; i++) {
        ok = set_item(objects, i, row_from(rows, page, &result->objects[i]));
    }
    if (!ok) {
        Py_CLEAR(objects);
    }
    return objects;
}

PyObject *s3i_prefixes_of(const struct s3_page *page)
{
    const struct s3ext_result *result = page->result;
    PyObject *prefixes = PyList_New((Py_ssize_t)result->prefix_count);
    bool ok = prefixes != NULL;
    for (size_t i = 0; ok && i < result->prefix_count; i++) {
        ok = set_item(prefixes, i, path_from(page, &result->prefixes[i]));
    }
    if (!ok) {
        Py_CLEAR(prefixes);
    }
    return prefixes;
}
