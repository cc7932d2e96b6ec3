/* model_util.h: what the tests of the model share: texts in, errors out, and a table of rows as tests of their own. */
#ifndef MODEL_UTIL_H
#define MODEL_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model.h"

#define N_OF_ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* A text, and the errors that it must give, each with its newline; "": none. */
struct row {
	const char *name, *text, *want;
};

/* All errors, one a line; frees them. Caller frees the text. */
static inline char *errors_text(struct errs *errs)
{
	char *ret = NULL, *line;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	assert_non_null(f);
	for (size_t i = 0; i < errs->n; i++) {
		line = err_text(&errs->v[i]);
		fprintf(f, "%s\n", line);
		free(line);
	}
	fclose(f);
	errs_free(errs);
	return ret;
}

/* The model of a text that must be without error. */
static inline struct model *must_parse(const char *text)
{
	struct errs errs = {0};
	struct model *m = model_parse(text, strlen(text), "sluice.yaml", &errs);
	char *said = errors_text(&errs);

	assert_string_equal(said, "");
	assert_non_null(m);
	free(said);
	return m;
}

static inline void row_test(void **state)
{
	const struct row *row = *state;
	struct errs errs = {0};
	struct model *m = model_parse(row->text, strlen(row->text), "sluice.yaml", &errs);
	char *said;

	assert_int_equal(m == NULL, errs.n > 0);
	said = errors_text(&errs);
	assert_string_equal(said, row->want);
	free(said);
	model_free(m);
}

/* Each row as a test of its own, called after it, then the others. */
static inline int run_rows(const char *group, const struct row *rows, size_t n, const struct CMUnitTest *others, size_t n_others)
{
	struct CMUnitTest *tests = calloc(n + n_others, sizeof(*tests));
	int failed;

	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){.name = rows[i].name, .test_func = row_test, .initial_state = (void *)&rows[i]};
	if (n_others)
		memcpy(tests + n, others, n_others * sizeof(*tests));
	failed = _cmocka_run_group_tests(group, tests, n + n_others, NULL, NULL);
	free(tests);
	return failed;
}

#endif
