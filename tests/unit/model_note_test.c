/* model_note_test.c: what of a good configuration is said beside the answer. */
#include "model_util.h"

#define BASE                                                                                                                     \
	"ports: {wan: {mode: routed}, p1: {mode: access, vlan: 10}, p2: {mode: access, vlan: 20}}\n"                             \
	"vrfs: {red: {table: 100}}\n"                                                                                            \
	"interfaces:\n"                                                                                                          \
	"  wan: {port: wan, addresses: [203.0.113.1/24, \"2001:db8::1/64\"]}\n"                                                  \
	"  lan: {vlan: 10, addresses: [10.0.0.1/24, \"fd00::1/64\"]}\n"                                                          \
	"  blue: {vlan: 20, vrf: red, addresses: [192.0.2.1/24]}\n"                                                              \
	"nat:\n"
#define F(rest)	 BASE "  - {name: f, type: dnat, " rest "}\n"
#define NOTE(at) "sluice.yaml:8: nat.f: takes what the gateway itself listens on at " at "\n"

/* Between `text` and `was`, which is in force, NULL: nothing is. */
static const struct {
	const char *text, *was, *want;
} notes[] = {
	{BASE "  []\n", NULL, ""},
	{F("destination: 203.0.113.1, to: 10.0.0.5"), NULL, NOTE("its address 203.0.113.1: TCP, every port, and pings")},
	{F("destination: \"2001:db8::1\", to: \"fd00::5\""), NULL, NOTE("its address 2001:db8::1: TCP, every port, and pings")},
	{F("destination: 203.0.113.1, protocol: tcp, to: 10.0.0.5"), NULL, NOTE("its address 203.0.113.1: TCP, every port")},
	{F("destination: 203.0.113.1, protocol: tcp, port: 20-30, to: 10.0.0.5"), NULL,
	 NOTE("its address 203.0.113.1: TCP, ports 20-30")},
	{F("destination: wan, protocol: [udp, tcp], port: 1-65535, to: 10.0.0.5"), NULL,
	 NOTE("the addresses of its interface `wan`: TCP, ports 1-65535")},
	{F("destination: 192.0.2.1, vrf: red, to: 10.0.0.5, to-vrf: default"), NULL,
	 NOTE("its address 192.0.2.1: TCP, every port, and pings")},
	/* One port is plain to see; UDP is left to who has bound it; not the gateway's own. */
	{F("destination: 203.0.113.1, protocol: tcp, port: 22, to: 10.0.0.5"), NULL, ""},
	{F("destination: 203.0.113.1, protocol: tcp, port: 22-22, to: 10.0.0.5"), NULL, ""},
	{F("destination: 203.0.113.1, protocol: udp, to: 10.0.0.5"), NULL, ""},
	{F("destination: 203.0.113.2, to: 10.0.0.5"), NULL, ""},
	{F("destination: 192.0.2.1, to: 10.0.0.5"), NULL, ""},
	{BASE "  - {name: f, type: static, outside: 203.0.113.2, inside: 10.0.0.5}\n", NULL, ""},
	/* What was so before is not said again. */
	{F("destination: wan, protocol: tcp, port: 20-30, to: 10.0.0.5"),
	 F("destination: wan, protocol: tcp, port: 20-30, to: 10.0.0.6"), ""},
	{F("destination: 203.0.113.1, protocol: tcp, port: 20-31, to: 10.0.0.5"),
	 F("destination: 203.0.113.1, protocol: tcp, port: 20-30, to: 10.0.0.5"),
	 NOTE("its address 203.0.113.1: TCP, ports 20-31")},
	{F("destination: 203.0.113.1, to: 10.0.0.5"), BASE "  []\n", NOTE("its address 203.0.113.1: TCP, every port, and pings")},
};

static void notes_test(void **state)
{
	for (size_t i = 0; i < N_OF_ROWS(notes); i++) {
		struct model *m = must_parse(notes[i].text), *was = notes[i].was ? must_parse(notes[i].was) : NULL;
		struct errs errs = {0};
		char *said;

		model_notes(m, was, &errs);
		said = errors_text(&errs);
		if (strcmp(said, notes[i].want))
			fail_msg("row %zu: %s", i, said);
		free(said);
		model_free(m);
		model_free(was);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(notes_test)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
