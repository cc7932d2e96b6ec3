/* pin_test.c: names of pins and instances, which come from netdevs and command lines. No bpffs needed: directories are
 * directories. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "datapath_priv.h"

static void netdev_with_a_dot_has_a_pin_bpffs_allows(void **state)
{
	char path[128];

	pin_path(path, sizeof(path), "/x.y/sluice", "links", "tc-eth0.100");
	assert_string_equal(path, "/x.y/sluice/links/tc-eth0:100");
}

static void path_that_does_not_fit_stays_in_its_buffer(void **state)
{
	char path[16];

	memset(path, 'z', sizeof(path));
	pin_path(path, sizeof(path), "/a", "links", "tc-eth0.100.200");
	assert_non_null(memchr(path, 0, sizeof(path)));
}

static int join(const char *name, void *arg)
{
	strcat(arg, name);
	strcat(arg, " ");
	return strcmp(name, "stop") ? 0 : 7;
}

static void touch(const char *root, const char *name)
{
	char path[256];
	int fd;

	pin_path(path, sizeof(path), root, "links", name);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void every_name_is_given_as_it_was_and_all_can_be_cleared(void **state)
{
	char root[] = "/tmp/pin_test.XXXXXX", dir[64], got[256] = "";

	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/links", root);
	assert_int_equal(mkdir(dir, 0700), 0);
	touch(root, "tc-b");
	touch(root, "tc-a.1");
	touch(root, "xdp-a.1");
	assert_int_equal(pin_each(root, "links", join, got), 0);
	assert_string_equal(got, "tc-a.1 tc-b xdp-a.1 ");
	touch(root, "stop");
	got[0] = 0;
	assert_int_equal(pin_each(root, "links", join, got), 7);
	assert_string_equal(got, "stop ");
	assert_int_equal(pin_clear(root, "links"), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(root), 0);
}

static void directory_that_is_not_there_is_empty(void **state)
{
	char got[16] = "";

	assert_int_equal(pin_each("/nonexistent", "links", join, got), 0);
	assert_string_equal(got, "");
}

static void instance_names_cannot_leave_their_directory(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", "../x", "a/b", "a b", ".hidden", "a:b", "123456789012345678901234567890123"};
	static const char *const good[] = {"default", "a.b", "net-1-2_x", "12345678901234567890123456789012"};
	struct errs errs = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(host_check_instance(bad[i], &errs), -EINVAL);
	assert_int_equal(errs.n, sizeof(bad) / sizeof(bad[0]));
	errs_free(&errs);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(host_check_instance(good[i], NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(netdev_with_a_dot_has_a_pin_bpffs_allows),
		cmocka_unit_test(path_that_does_not_fit_stays_in_its_buffer),
		cmocka_unit_test(every_name_is_given_as_it_was_and_all_can_be_cleared),
		cmocka_unit_test(directory_that_is_not_there_is_empty),
		cmocka_unit_test(instance_names_cannot_leave_their_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
