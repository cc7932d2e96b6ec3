/* sluice: the time of the tables and of the process (clock.h). */
#include "clock.h"

uint64_t clock_now_ns(void)
{
	return clock_read_ns(CLOCK_MONOTONIC);
}
