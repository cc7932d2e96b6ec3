/* inject.c: the program of bpf/inject.bpf.c behind inject.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "datapath_priv.h"
#include "inject.h"
#include "inject.skel.h"

struct inject {
	struct inject_bpf *obj;
	bool silent;
};

int inject_open(struct datapath *dp, struct inject **ret, struct errs *errs)
{
	struct table *t = table_get(dp, "port_counters");
	struct inject *i = calloc(1, sizeof(*i));
	int err;

	*ret = NULL;
	if (!i)
		return errs_fail(errs, ENOMEM, "out of memory");
	i->silent = dp->features.trace;
	i->obj = inject_bpf__open();
	err = !i->obj ? -errno : !t ? -ENOENT : bpf_map__reuse_fd(i->obj->maps.port_counters, t->fd);
	if (!err)
		err = inject_bpf__load(i->obj);
	if (err) {
		inject_close(i);
		return errs_fail(errs, -err, "program sluice_inject does not load: %s", strerror(-err));
	}
	*ret = i;
	return 0;
}

void inject_close(struct inject *i)
{
	if (!i)
		return;
	inject_bpf__destroy(i->obj);
	free(i);
}

int inject_frame(struct inject *i, int ifindex, uint16_t port, const void *frame, size_t len)
{
	struct __sk_buff ctx = {.ifindex = (uint32_t)ifindex, .cb = {port}};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (uint32_t)len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int err;

	if (i->silent)
		return 0;
	err = bpf_prog_test_run_opts(bpf_program__fd(i->obj->progs.sluice_inject), &run);
	return err ? err : (int)run.retval;
}
