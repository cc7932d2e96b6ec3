/* fib_grace.h: when every BPF program that ran has ended: waited for, or asked for and looked at later. */
#ifndef SLUICE_FIB_GRACE_H
#define SLUICE_FIB_GRACE_H

#include <stdbool.h>
#include <stdint.h>

/* Returns when every BPF program that runs now has ended. */
void fib_grace_period(void);
/* The same without waiting: a ticket; 0: it cannot be had. */
uint64_t fib_grace_ask(void);
bool fib_grace_over(uint64_t ticket); /* every program that ran when it was asked for has ended */

#endif
