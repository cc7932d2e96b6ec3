/* globs.c: netdev names and globs (globs.h).
 *
 * A glob is a row of at most IFNAMSIZ - 1 tokens, each a set of characters or a star. Two globs meet when some name takes
 * both to their ends: that is looked for among all pairs of positions, by the length of the name, which also gives the
 * shortest such name.
 */
#include <fnmatch.h>
#include <stdint.h>
#include <string.h>
#include "globs.h"

#define TOKENS IFNAMSIZ

struct token {
	bool star;
	uint64_t set[2]; /* by ASCII code */
};

struct pattern {
	struct token t[TOKENS];
	int n;
};

static bool name_char(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '/' && c != ':' && c != '\\';
}

static void set_add(uint64_t set[2], unsigned char c)
{
	set[c >> 6] |= 1ull << (c & 63);
}

static bool set_has(const uint64_t set[2], unsigned char c)
{
	return set[c >> 6] >> (c & 63) & 1;
}

bool is_glob(const char *s)
{
	return strpbrk(s, "*?[") != NULL;
}

static const char *chars_problem(const char *s)
{
	if (!*s)
		return "a netdev's name is not empty";
	if (strlen(s) >= IFNAMSIZ)
		return "longer than 15 characters";
	if (!strcmp(s, ".") || !strcmp(s, ".."))
		return "no netdev can be called so";
	for (; *s; s++)
		if (!name_char(*s))
			return "spaces, `/`, `:`, `\\` and what is not printable ASCII cannot stand in a netdev's name";
	return NULL;
}

const char *netdev_name_problem(const char *s)
{
	return chars_problem(s) ?: is_glob(s) ? "a glob cannot stand here, only one netdev's name" : NULL;
}

/* The bracket expression behind `[` at *s, *s moved behind its `]`. */
static const char *bracket(const char **s, uint64_t set[2])
{
	const char *p = *s, *first;
	bool negated = *p == '!';
	uint64_t in[2] = {0, 0};

	if (*p == '^')
		return "`[^` means different things in different places: write `[!`";
	p += negated;
	for (first = p; *p && (*p != ']' || p == first); p++) {
		unsigned char lo = *p, hi = lo;

		if (lo == '[')
			return "`[` cannot stand between `[` and `]`";
		if (p[1] == '-' && p[2] && p[2] != ']') {
			hi = p[2];
			p += 2;
		}
		if (hi < lo || hi == '[')
			return "a range between `[` and `]` runs backwards or ends in `[`";
		for (int c = lo; c <= hi; c++)
			set_add(in, c);
	}
	if (!*p)
		return "`[` without `]`";
	*s = p + 1;
	for (int c = 0; c < 128; c++)
		if (name_char(c) && set_has(in, c) != negated)
			set_add(set, c);
	return set[0] | set[1] ? NULL : "`[...]` that no character of a name matches";
}

static const char *compile(const char *s, struct pattern *ret)
{
	const char *problem;

	memset(ret, 0, sizeof(*ret));
	while (*s) {
		struct token *t = &ret->t[ret->n++];

		if (*s == '*') {
			t->star = true;
			s++;
		} else if (*s == '[') {
			s++;
			problem = bracket(&s, t->set);
			if (problem)
				return problem;
		} else {
			for (int c = 0; c < 128 && *s == '?'; c++)
				if (name_char(c))
					set_add(t->set, c);
			if (*s != '?')
				set_add(t->set, *s);
			s++;
		}
	}
	return NULL;
}

const char *glob_problem(const char *s)
{
	struct pattern p;

	return chars_problem(s) ?: compile(s, &p);
}

bool glob_match(const char *glob, const char *name)
{
	return !fnmatch(glob, name, 0);
}

static bool sets_meet(const struct token *a, const struct token *b)
{
	return a->star || b->star || (a->set[0] & b->set[0]) || (a->set[1] & b->set[1]);
}

/* A character that both tokens take, letters and digits first: it stands in a message. */
static char common(const struct token *a, const struct token *b)
{
	static const char order[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (const char *p = order; *p; p++)
		if ((a->star || set_has(a->set, *p)) && (b->star || set_has(b->set, *p)))
			return *p;
	for (int c = 0; c < 128; c++)
		if (name_char(c) && (a->star || set_has(a->set, c)) && (b->star || set_has(b->set, c)))
			return c;
	return '?';
}

/* How a pair of positions was reached with a name of one length. */
struct step {
	bool seen;
	bool took;    /* a character was taken; else a star was skipped */
	uint8_t i, j; /* from these positions */
};

struct search {
	struct step at[IFNAMSIZ][TOKENS + 1][TOKENS + 1]; /* by length of the name, position in a, position in b */
};

static void reach(struct step *s, int i, int j, bool took)
{
	if (!s->seen)
		*s = (struct step){true, took, i, j};
}

static void spell(const struct search *q, const struct pattern *a, const struct pattern *b, int len, char ret[IFNAMSIZ])
{
	int i = a->n, j = b->n;

	ret[len] = '\0';
	while (len || i || j) {
		const struct step *s = &q->at[len][i][j];

		if (s->took)
			ret[--len] = common(&a->t[s->i], &b->t[s->j]);
		i = s->i;
		j = s->j;
	}
}

static bool search(const struct pattern *a, const struct pattern *b, char ret[IFNAMSIZ])
{
	struct search q = {0};

	q.at[0][0][0].seen = true;
	for (int len = 0; len < IFNAMSIZ; len++) {
		for (int i = 0; i <= a->n; i++) {
			for (int j = 0; j <= b->n; j++) {
				const struct token *x = &a->t[i], *y = &b->t[j];

				if (!q.at[len][i][j].seen)
					continue;
				if (i < a->n && x->star)
					reach(&q.at[len][i + 1][j], i, j, false);
				if (j < b->n && y->star)
					reach(&q.at[len][i][j + 1], i, j, false);
				if (len < IFNAMSIZ - 1 && i < a->n && j < b->n && sets_meet(x, y))
					reach(&q.at[len + 1][i + !x->star][j + !y->star], i, j, true);
			}
		}
		if (len && q.at[len][a->n][b->n].seen) {
			spell(&q, a, b, len, ret);
			return true;
		}
	}
	return false;
}

/* Whether what stands before the first star of either, and behind the last, differs: the answer for nearly all pairs. */
static bool ends_differ(const struct pattern *a, const struct pattern *b)
{
	for (int i = 0; i < a->n && i < b->n && !a->t[i].star && !b->t[i].star; i++)
		if (!sets_meet(&a->t[i], &b->t[i]))
			return true;
	for (int i = 1; i <= a->n && i <= b->n && !a->t[a->n - i].star && !b->t[b->n - i].star; i++)
		if (!sets_meet(&a->t[a->n - i], &b->t[b->n - i]))
			return true;
	return false;
}

bool globs_meet(const char *a, const char *b, char ret[IFNAMSIZ])
{
	struct pattern x, y;

	if (compile(a, &x) || compile(b, &y) || ends_differ(&x, &y))
		return false;
	return search(&x, &y, ret);
}
