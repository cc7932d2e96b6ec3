/* slow_grace.c: an RCU grace period as long as it is on a busy machine, whatever this one does: preloaded into sluiced by
 * test_full_fib.py. */
#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GRACE_NS 100000000

long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	long a[6];
	va_list args;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == __NR_membarrier)
		nanosleep(&(struct timespec){.tv_nsec = GRACE_NS}, NULL);
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
