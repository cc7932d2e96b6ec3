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
	struct inject *i = calloc(1, sizeof(*i));

	*ret = NULL;
	if (!i)
		return errs_fail(errs, ENOMEM, "out of memory");
	i->silent = dp->features.trace;
	i->obj = inject_bpf__open_and_load();
	if (!i->obj) {
		free(i);
		return errs_fail(errs, errno ? errno : EINVAL, "program sluice_inject does not load: %s", strerror(errno));
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

int inject_frame(struct inject *i, int ifindex, const void *frame, size_t len)
{
	struct __sk_buff ctx = {.ifindex = (uint32_t)ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (uint32_t)len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int err;

	if (i->silent)
		return 0;
	err = bpf_prog_test_run_opts(bpf_program__fd(i->obj->progs.sluice_inject), &run);
	return err ? err : (int)run.retval;
}
