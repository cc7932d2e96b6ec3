/* flow_file_fuzz.c: a libFuzzer harness for the reader of saved flows: any text, line by line, against the real source.
 *
 * What is read must come back the same from what is printed of it; what is refused must say why, without control characters.
 * `make fuzz` builds and runs it.
 */
#include "flow_file.h"
#include "fuzz.h"

static void one_line(const char *line, size_t len)
{
	struct flow_record r, again;
	struct errs errs = {0};
	char text[FLOW_FILE_LINE], name[FLOW_FILE_NAME];
	int err = flow_file_parse(line, len, (struct where){"fuzz", 1}, &r, &errs);
	size_t n;

	MUST(!err == !errs.n);
	errors(&errs);
	if (err)
		return;
	flow_file_name(&r, name);
	n = flow_file_print(&r, text);
	MUST(n && !flow_file_parse(text, n - 1, (struct where){"again", 1}, &again, &errs));
	MUST(!memcmp(&r, &again, sizeof(r)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	struct flow_file_check c = {.name = "fuzz"};
	struct errs errs = {0};
	int err = 0;

	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at)), *stop = nl ? nl : end;

		one_line(at, (size_t)(stop - at));
		if (!err)
			err = flow_file_check_line(&c, at, (size_t)(stop - at), &errs);
		at = nl ? nl + 1 : end;
	}
	if (!err)
		flow_file_check_end(&c, &errs);
	errors(&errs);
	return 0;
}
