/* Documents of a few texts, by paths that the caller names: multipart uploads, copies, sessions. */
#include "pure/xml_reader.h"

enum { RULES_MAX = 24 };

/* A grammar made from the caller's paths. Node S3I_NODE_FIRST + i is the i-th path; groups come
 * after. */
struct fields {
    struct s3_xml_rule rules[RULES_MAX];
    size_t rule_count;
    unsigned next_group;
    struct s3_buf *outs;
};

static bool fields_add_rule(struct fields *fields, struct s3_xml_rule rule)
{
    if (fields->rule_count == RULES_MAX || rule.node > S3I_NODE_MAX) {
        return false;
    }
    fields->rules[fields->rule_count++] = rule;
    return true;
}

/* The node of a group of this name, made at its first use; S3I_NODE_SKIP when there are too many. */
static unsigned fields_group(struct fields *fields, unsigned parent, struct s3_str name)
{
    const struct s3_xml_grammar so_far = {.rules = fields->rules, .count = fields->rule_count};
    const struct s3_xml_rule *known = s3i_xml_find_rule(&so_far, parent, name);
    if (known != NULL) {
        return known->node;
    }
    struct s3_xml_rule rule = {parent, fields->next_group, S3I_KIND_GROUP, name};
    if (!fields_add_rule(fields, rule)) {
        return S3I_NODE_SKIP;
    }
    fields->next_group++;
    return rule.node;
}

static bool fields_add_path(struct fields *fields, const char *path, unsigned node)
{
    unsigned parent = S3I_NODE_ROOT;
    const char *slash = strchr(path, '/');
    for (; slash != NULL; slash = strchr(path, '/')) {
        parent = fields_group(fields, parent, s3i_str(path, (size_t)(slash - path)));
        if (parent == S3I_NODE_SKIP) {
            return false;
        }
        path = slash + 1;
    }
    return fields_add_rule(fields,
                           (struct s3_xml_rule){parent, node, S3I_KIND_TEXT, s3i_str_from(path)});
}

static struct s3_buf *fields_sink(struct s3_xml_reader *reader, unsigned node)
{
    const struct fields *fields = reader->target;
    return &fields->outs[node - S3I_NODE_FIRST];
}

static void fields_ended(struct s3_xml_reader *reader, unsigned node, size_t start, uint32_t seen)
{
    (void)reader; /* the text is in the caller's buffer already */
    (void)node;
    (void)start;
    (void)seen;
}

static void fields_reset(struct s3_buf *outs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s3i_buf_reset(&outs[i]);
    }
}

int s3i_xml_fields(struct s3_str document, const char *root, const char *const *names,
                   struct s3_buf *outs, size_t count, struct s3_xml_error *error)
{
    if (count > RULES_MAX) {
        return S3EXT_INVALID;
    }
    struct fields fields = {.outs = outs, .next_group = S3I_NODE_FIRST + (unsigned)count};
    for (size_t i = 0; i < count; i++) {
        if (!fields_add_path(&fields, names[i], S3I_NODE_FIRST + (unsigned)i)) {
            return S3EXT_INVALID;
        }
    }
    const struct s3_xml_grammar grammar = {.root = s3i_str_from(root),
                                           .rules = fields.rules,
                                           .count = fields.rule_count,
                                           .sink = fields_sink,
                                           .ended = fields_ended};
    struct s3_xml_reader reader = {.grammar = &grammar, .error = error, .target = &fields};
    fields_reset(outs, count);
    int code = s3i_xml_parse(&reader, document);
    if (code != S3EXT_OK) {
        fields_reset(outs, count);
    }
    return code;
}
