/*
 * A resolver to be preloaded, so that tests decide how names are looked up.
 *
 * The environment's RESOLVER names a file; each line of it is "name milliseconds answer...", an answer an
 * address or the word NONAME, AGAIN or FAIL. The file is read at each look-up, so a test may change it while
 * the process runs. Look-ups are noted, one line each, in the file RESOLVER.log. Names that are not in the
 * file are the system's to resolve.
 *
 * What getaddrinfo returns here are nodes of our own, marked by their flags; they own their address and are
 * freed by the freeaddrinfo of this file.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OURS = 0x5a5a0000, LINE_MAX_BYTES = 1000 };

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef void release(struct addrinfo *);

/* The next library's function of a name, put into a pointer to a function. */
static void next_of(const char *name, void *function)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof(found));
}

static void note(const char *path, const char *name)
{
    char line[LINE_MAX_BYTES];
    char log[LINE_MAX_BYTES];
    snprintf(log, sizeof(log), "%s.log", path);
    int size = snprintf(line, sizeof(line), "%s\n", name);
    int fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write(fd, line, (size_t)size) != size) {
            abort();
        }
        close(fd);
    }
}

static int word(const char *answer)
{
    if (strcmp(answer, "NONAME") == 0) {
        return EAI_NONAME;
    }
    if (strcmp(answer, "AGAIN") == 0) {
        return EAI_AGAIN;
    }
    return strcmp(answer, "FAIL") == 0 ? EAI_FAIL : 0;
}

/* Copies the nodes of one numeric address to the end of the list. */
static int append(const char *address, const char *service, const struct addrinfo *hints,
                  struct addrinfo ***end)
{
    struct addrinfo *found;
    struct addrinfo wish = hints ? *hints : (struct addrinfo){0};
    wish.ai_flags = AI_NUMERICHOST;
    lookup *real;
    release *give_back;
    next_of("getaddrinfo", &real);
    next_of("freeaddrinfo", &give_back);
    int code = real(address, service, &wish, &found);
    if (code != 0) {
        return code == EAI_ADDRFAMILY || code == EAI_FAMILY || code == EAI_NONAME ? 0 : code;
    }
    for (struct addrinfo *each = found; each != NULL; each = each->ai_next) {
        struct addrinfo *node = calloc(1, sizeof(*node) + each->ai_addrlen);
        if (node == NULL) {
            code = EAI_MEMORY;
            break;
        }
        *node = *each;
        node->ai_flags = OURS;
        node->ai_canonname = NULL;
        node->ai_next = NULL;
        node->ai_addr = (struct sockaddr *)(node + 1);
        memcpy(node->ai_addr, each->ai_addr, each->ai_addrlen);
        **end = node;
        *end = &node->ai_next;
    }
    give_back(found);
    return code;
}

/* The line of a name without the name; false if there is none. */
static int find(const char *path, const char *name, char line[LINE_MAX_BYTES])
{
    FILE *file = fopen(path, "re");
    int found = 0;
    while (file != NULL && !found && fgets(line, LINE_MAX_BYTES, file) != NULL) {
        size_t size = strcspn(line, " ");
        if (size == strlen(name) && strncmp(line, name, size) == 0) {
            memmove(line, line + size, strlen(line + size) + 1);
            found = 1;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

void freeaddrinfo(struct addrinfo *list)
{
    if (list == NULL) {
        return;
    }
    if (list->ai_flags != OURS) {
        release *real;
        next_of("freeaddrinfo", &real);
        real(list);
        return;
    }
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    char line[LINE_MAX_BYTES];
    const char *path = getenv("RESOLVER");
    if (path == NULL || name == NULL || !find(path, name, line)) {
        lookup *real;
        next_of("getaddrinfo", &real);
        return real(name, service, hints, result);
    }
    note(path, name);
    char *rest;
    char *answer = strtok_r(line, " \n", &rest);
    long wait = strtol(answer, NULL, 10);
    struct timespec pause = {wait / 1000, wait % 1000 * 1000000};
    nanosleep(&pause, NULL);
    *result = NULL;
    struct addrinfo **end = result;
    int code = 0;
    while (code == 0 && (answer = strtok_r(NULL, " \n", &rest)) != NULL) {
        code = word(answer);
        code = code ? code : append(answer, service, hints, &end);
    }
    if (code == 0 && *result == NULL) {
        code = EAI_NONAME;
    }
    if (code != 0) {
        freeaddrinfo(*result);
        *result = NULL;
    }
    return code;
}
