/*
 * process: which generation of the process this is. Rises by one in the child of every fork; what
 * an older generation made is dead there: its memory may be read, its descriptors and locks must
 * not be used.
 */
#ifndef S3I_FLOW_PROCESS_H
#define S3I_FLOW_PROCESS_H

#include <stdint.h>

uint32_t s3i_process_generation(void);

/* Registers the fork handlers (pthread_atfork), once. An s3_code. */
int s3i_process_init(void);

/* What the engine adds in the child, after all below has been renewed. */
void s3i_process_on_child(void (*renew)(void));

#endif
