/*
 * random: jitter. Not for secrets.
 */
#ifndef S3I_FLOW_RANDOM_H
#define S3I_FLOW_RANDOM_H

/* Uniform in [0, 1); a generator for each thread, seeded from the kernel. */
double s3i_random_uniform(void);

#endif
