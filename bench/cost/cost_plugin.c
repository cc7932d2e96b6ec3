/* cost_plugin.c: a plugin of qemu that counts how often each instruction is executed, while cost_guest.c says so.
 *
 * Loaded by bench/vm.py with an argument out=FILE. cost_guest calls functions in a page of its own at a known address; which one
 * tells the phase that begins. At the end FILE has a line for each instruction that was executed: address, counts of phase 1
 * and 2. qemu's header for plugins is in no package of Debian 12, so what is used of it is declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARKS	   0x7e57000000
#define MARK_BYTES 16
#define PHASES	   3
#define EXPORT	   __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*vcpu_udata_cb)(unsigned int vcpu, void *userdata);
typedef void (*udata_cb)(qemu_plugin_id_t id, void *userdata);

enum { CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, vcpu_udata_cb cb, int flags, void *userdata);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, vcpu_udata_cb cb, int flags, void *userdata);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, udata_cb cb, void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

/* A translated block: its instructions, and how often it was entered by phase. */
struct block {
	struct block *next;
	uint64_t counts[PHASES];
	size_t n;
	uint64_t at[];
};

static struct block *blocks;
static unsigned int phase;
static char path[4096];

static void entered(unsigned int vcpu, void *userdata)
{
	struct block *b = userdata;

	b->counts[phase]++;
}

static void marked(unsigned int vcpu, void *userdata)
{
	phase = (uintptr_t)userdata % PHASES;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	struct block *b = calloc(1, sizeof(*b) + n * sizeof(b->at[0]));

	if (!b)
		abort();
	b->n = n;
	b->next = blocks;
	blocks = b;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t off = qemu_plugin_insn_vaddr(insn) - MARKS;

		b->at[i] = off + MARKS;
		if (off < PHASES * MARK_BYTES && off % MARK_BYTES == 0)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, CB_NO_REGS, (void *)(uintptr_t)(off / MARK_BYTES));
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, entered, CB_NO_REGS, b);
}

static void ended(qemu_plugin_id_t id, void *userdata)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return;
	for (const struct block *b = blocks; b; b = b->next) {
		for (size_t i = 0; i < b->n && (b->counts[1] || b->counts[2]); i++)
			fprintf(f, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", b->at[i], b->counts[1], b->counts[2]);
	}
	fclose(f);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			snprintf(path, sizeof(path), "%s", argv[i] + 4);
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
