/* bpfkit.h: what the benchmarks in C share that measure inside the kernel: an object's maps in memory, a job that its program
 * "bench" does, random numbers that are the same each time.
 *
 * Stands between those programs and libbpf. Whatever fails ends the program, with a line that says what.
 */
#ifndef BENCH_BPFKIT_H
#define BENCH_BPFKIT_H

#include <bpf/libbpf.h>
#include <stddef.h>
#include <stdint.h>

/* Says "PROGRAM: WHAT: " with the words for errno. */
_Noreturn void bpfkit_die(const char *what);

/* Not evenly spread in the lower bits. */
uint64_t bpfkit_random(void);

/* The maps of a loaded object. `size`: bytes from the start, to be read and written. */
int bpfkit_map_fd(struct bpf_object *obj, const char *name);
void *bpfkit_map_memory(struct bpf_object *obj, const char *name, size_t size);

/* Runs the program "bench" once; `job` is the one element of the map "job" before, and after. */
void bpfkit_run(struct bpf_object *obj, void *job);

#endif
