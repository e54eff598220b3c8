#include "base/time.h"

#include <time.h>

enum { SECONDS_PER_DAY = 86400 };

int64_t s3i_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t s3i_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t s3i_wall_seconds(void)
{
    return s3i_wall_ms() / 1000;
}

/*
 * Days are counted in eras of 400 years (146,097 days) that begin on 1 March, so that the leap day
 * is the last of its year and month lengths follow one linear formula.
 */
struct s3_utc s3i_utc_from_epoch(int64_t seconds)
{
    int64_t days = seconds / SECONDS_PER_DAY;
    int64_t rest = seconds % SECONDS_PER_DAY;
    if (rest < 0) {
        rest += SECONDS_PER_DAY;
        days--;
    }
    int64_t shifted = days + 719468; /* days from 0000-03-01 to 1970-01-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    struct s3_utc utc = {
        .day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1),
        .month = (int)(march_month < 10 ? march_month + 3 : march_month - 9),
        .hour = (int)(rest / 3600),
        .minute = (int)(rest / 60 % 60),
        .second = (int)(rest % 60),
    };
    utc.year = (int)(year_of_era + era * 400 + (utc.month <= 2));
    return utc;
}

int64_t s3i_utc_to_epoch(struct s3_utc utc)
{
    int64_t year = utc.year - (utc.month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t march_month = (utc.month + 9) % 12;
    int64_t day_of_year = (153 * march_month + 2) / 5 + utc.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    int64_t days = era * 146097 + day_of_era - 719468;
    return days * SECONDS_PER_DAY + utc.hour * 3600 + utc.minute * 60 + utc.second;
}
