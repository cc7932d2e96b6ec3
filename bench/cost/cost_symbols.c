/* cost_symbols.c: where the instructions of the loaded BPF programs come from: "line ADDRESS FILE:LINE" for each place at which
 * the source line changes, by the line information that the kernel keeps beside a jited program. For bench/cost_profile.py.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/bpf.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void print_lines(int fd, uint32_t btf_id, uint32_t n)
{
	struct bpf_line_info *lines = calloc(n, sizeof(*lines));
	uint64_t *at = calloc(n, sizeof(*at));
	struct btf *btf = btf__load_from_kernel_by_id(btf_id);
	struct bpf_prog_info info = {
		.nr_line_info = n,
		.line_info_rec_size = sizeof(*lines),
		.line_info = (uintptr_t)lines,
		.nr_jited_line_info = n,
		.jited_line_info_rec_size = sizeof(*at),
		.jited_line_info = (uintptr_t)at,
	};
	uint32_t len = sizeof(info);

	if (lines && at && btf && !bpf_obj_get_info_by_fd(fd, &info, &len)) {
		for (uint32_t i = 0; i < n && i < info.nr_jited_line_info; i++)
			printf("line %llx %s:%u\n", (unsigned long long)at[i],
			       base_name(btf__name_by_offset(btf, lines[i].file_name_off)),
			       BPF_LINE_INFO_LINE_NUM(lines[i].line_col));
	}
	btf__free(btf);
	free(at);
	free(lines);
}

int main(void)
{
	for (uint32_t id = 0; !bpf_prog_get_next_id(id, &id);) {
		struct bpf_prog_info info = {};
		uint32_t len = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && info.btf_id && info.nr_jited_line_info)
			print_lines(fd, info.btf_id, info.nr_jited_line_info);
	}
	return 0;
}
