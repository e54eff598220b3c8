/* Text for the documents that are sent. */
#include "pure/xml.h"

/* The escape of a byte in an element's text, empty where it stands for itself. */
static struct s3_str escape_of(char byte)
{
    switch (byte) {
    case '&':
        return S3I_STR("&amp;");
    case '<':
        return S3I_STR("&lt;");
    case '>':
        return S3I_STR("&gt;");
    case '"':
        return S3I_STR("&quot;");
    case '\'':
        return S3I_STR("&apos;");
    default:
        return S3I_STR_NONE;
    }
}

static void add_control(struct s3_buf *out, unsigned char byte)
{
    static const char DIGITS[] = "0123456789ABCDEF";
    s3i_buf_add(out, S3I_STR("&#x"));
    if (byte >= 0x10) {
        s3i_buf_add_char(out, DIGITS[byte >> 4]);
    }
    s3i_buf_add_char(out, DIGITS[byte & 0xF]);
    s3i_buf_add_char(out, ';');
}

void s3i_xml_add_text(struct s3_buf *out, struct s3_str text)
{
    size_t plain = 0; /* where the run of bytes begins that stand for themselves */
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        struct s3_str escape = escape_of(text.data[i]);
        if (byte >= 0x20 && escape.size == 0) {
            continue;
        }
        s3i_buf_add(out, s3i_str(text.data + plain, i - plain));
        plain = i + 1;
        if (escape.size) {
            s3i_buf_add(out, escape);
        } else {
            add_control(out, byte);
        }
    }
    if (plain < text.size) {
        s3i_buf_add(out, s3i_str(text.data + plain, text.size - plain));
    }
}
