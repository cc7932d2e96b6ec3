/* flow_filter_fuzz.c: a libFuzzer harness for the filters of flows: any text, against the real sources.
 *
 * What is refused names a column within the text and has printable words. What is understood gives an answer for any pair, the
 * same one in parentheses, and the opposite behind `not`.
 * `make fuzz` builds and runs it.
 */
#include "flow_filter.h"
#include "fuzz.h"

/* A name of an even length is known. */
static int known(void *arg, const char *name)
{
	size_t len = strlen(name);

	MUST(len);
	return len & 1 ? -1 : (int)len;
}

static const struct flow_names names = {known, known, known, NULL};

static void complete(struct flow_pair *p, void *arg)
{
	MUST(!p->whole);
	p->state = FLOW_CLOSING;
	p->packets[1] = 7;
}

/* -1: refused. */
static int answer(const char *text, const uint8_t *pair, size_t size)
{
	struct flow_filter_error why = {0};
	struct flow_filter *f = NULL;
	struct flow_pair p = {0};
	int r = flow_filter_parse(text, &names, &f, &why), matches;

	MUST(!r == !!f);
	if (r) {
		MUST(why.column >= 1 && why.column <= strlen(text) + 1);
		words(why.text);
		return -1;
	}
	memcpy(&p.key, pair, size < sizeof(p.key) ? size : sizeof(p.key));
	p.to = p.key;
	p.snat = size & 1;
	p.complete = complete;
	matches = flow_filter_match(f, &p);
	flow_filter_free(f);
	return matches;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 16);
	int plain, inner;

	MUST(text);
	memcpy(text, data, size);
	text[size] = '\0';
	plain = answer(text, data, size);
	sprintf(text, "(%.*s)", (int)strnlen((const char *)data, size), (const char *)data);
	inner = answer(text, data, size);
	MUST(inner == plain || plain < 0 || inner < 0);
	sprintf(text, "not (%.*s)", (int)strnlen((const char *)data, size), (const char *)data);
	inner = answer(text, data, size);
	MUST(inner == !plain || plain < 0 || inner < 0);
	free(text);
	return 0;
}
