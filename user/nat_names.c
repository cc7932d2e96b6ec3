/* nat_names.c: the numbers of NAT rules over a restart: those of rules that are there stand in the tables, and those of rules
 * that are gone, whose flows may live on, in a file of the instance's directory: a line `NUMBER NAME` each.
 *
 * Without it a rule that comes after a restart could get the number of one that went before, and with it that one's flows.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "nat_priv.h"
#include "state.h"

static void names_path(const struct nat *nat, char buf[FILE_PATH])
{
	snprintf(buf, FILE_PATH, "%s/%s", nat->sw->dir, STATE_NAT_RULES);
}

int nat_names_load(struct nat *nat)
{
	char path[FILE_PATH], name[SLUICE_LABEL], *text = NULL, *line, *rest;
	unsigned id;
	int err = 0;
	size_t len;

	if (!nat->sw->dir)
		return 0;
	names_path(nat, path);
	if (file_read(path, &text, &len)) /* most likely the first start */
		return 0;
	rest = text;
	while (!err && (line = strsep(&rest, "\n")))
		if (sscanf(line, "%u %31s", &id, name) == 2 && id && id < UINT16_MAX)
			err = nat_rule_id_set(nat, (uint16_t)id, name);
	nat->names = file_hash(text, len);
	free(text);
	return err;
}

void nat_names_save(struct nat *nat)
{
	char path[FILE_PATH], *text = NULL;
	uint64_t hash;
	size_t len;
	FILE *f;
	int err;

	f = nat->sw->dir && nat->names_new ? open_memstream(&text, &len) : NULL;
	if (!f)
		return;
	for (size_t i = 0; i < nat->n_rules; i++)
		if (*nat->rules[i].name)
			fprintf(f, "%zu %s\n", i + 1, nat->rules[i].name);
	err = fclose(f) ? -ENOMEM : 0;
	hash = err ? nat->names : file_hash(text, len);
	nat->names_new = err;
	if (hash != nat->names) {
		names_path(nat, path);
		err = file_write(path, "", text, 0600);
		if (err)
			log_error("%s cannot be written: %s", path, strerror(-err));
		else
			nat->names = hash;
		nat->names_new = err;
	}
	free(text);
}
