/* host.c: what the host must have before programs are loaded: kernel, capabilities, a mounted bpffs.
 *
 * Everything that is missing is said at once, each with what to do about it.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "datapath_priv.h"

static int check_kernel(struct errs *errs)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return errs_fail(errs, ENOSYS, "the kernel's version is not to be had");
	if (major < 6 || (major == 6 && minor < 1))
		return errs_fail(errs, ENOSYS, "kernel %s is too old: sluice needs 6.1 or later", u.release);
	return 0;
}

static bool have_cap(cap_t caps, cap_value_t cap)
{
	cap_flag_value_t v = CAP_CLEAR;

	return !cap_get_flag(caps, cap, CAP_EFFECTIVE, &v) && v == CAP_SET;
}

static int check_caps(struct errs *errs)
{
	static const struct {
		cap_value_t cap;
		const char *name, *what;
	} need[] = {
		{CAP_BPF, "CAP_BPF", "load BPF programs"},
		{CAP_NET_ADMIN, "CAP_NET_ADMIN", "attach them to netdevs"},
		{CAP_PERFMON, "CAP_PERFMON", "let them read packets by pointers"},
	};
	cap_t caps = cap_get_proc();
	int err = 0;

	if (!caps)
		return errs_fail(errs, errno, "the capabilities of this process cannot be read: %s", strerror(errno));
	/* CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON. */
	for (size_t i = 0; i < sizeof(need) / sizeof(need[0]); i++) {
		if (have_cap(caps, need[i].cap) || (need[i].cap != CAP_NET_ADMIN && have_cap(caps, CAP_SYS_ADMIN)))
			continue;
		err = errs_fail(errs, EPERM, "%s is missing, which it takes to %s: run as root, or grant it", need[i].name,
				need[i].what);
	}
	cap_free(caps);
	return err;
}

int host_mount_bpffs(struct errs *errs)
{
	struct statfs fs;

	if (!statfs(BPFFS, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", BPFFS, "bpf", 0, "mode=0700")) {
		int err = errno;

		return errs_fail(errs, err, "no bpffs at " BPFFS ", and it cannot be mounted (%s): mount -t bpf bpf " BPFFS,
				 strerror(err));
	}
	return 0;
}

int host_check_instance(const char *instance, struct errs *errs)
{
	size_t len = strlen(instance);

	if (!len || len >= sizeof(((struct datapath *)0)->instance) || instance[0] == '.' ||
	    strspn(instance, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != len)
		return errs_fail(errs, EINVAL, "instance '%s': a name has 1 to 32 letters, digits, '-', '_' or '.', no '.' first",
				 instance);
	return 0;
}

int datapath_check_host(struct errs *errs)
{
	int kernel = check_kernel(errs), caps = check_caps(errs);
	/* Without capabilities the mount would fail for a reason that is told already. */
	int bpffs = caps ? 0 : host_mount_bpffs(errs);

	return kernel ? kernel : caps ? caps : bpffs;
}
