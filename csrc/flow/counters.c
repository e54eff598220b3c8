#include "flow/counters.h"

struct s3_counters s3i_counters;
