/* cli_test.c: the table of commands of `sluice`: what words mean, what they become, what is refused and how. No daemon.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cli.h"
#include "file.h"

#define WORDS 32

static int split(const char *line, char buf[256], char *argv[WORDS])
{
	int n = 0;

	assert_true(strlen(line) < 256);
	strcpy(buf, line);
	for (char *w = strtok(buf, " "); w; w = strtok(NULL, " "))
		argv[n++] = w;
	argv[n] = NULL;
	return n;
}

/* The path of the command that a line means, or NULL and words. */
static const char *found(const char *line, char why[CLI_ERROR])
{
	char buf[256], prefix[64], *argv[WORDS];
	const struct command *cmd;
	int used = 0, n = split(line, buf, argv);

	cmd = cli_find(n, argv, &used, prefix, why);
	return cmd ? cmd->path : NULL;
}

static json_t *parsed(const char *line, char why[CLI_ERROR])
{
	char buf[256], prefix[64], *argv[WORDS];
	const struct command *cmd;
	int used = 0, n = split(line, buf, argv);

	cmd = cli_find(n, argv, &used, prefix, why);
	return cmd ? cli_params(cmd, n - used, argv + used, why) : NULL;
}

static void test_paths(void **state)
{
	static const struct {
		const char *line, *path;
	} rows[] = {
		{"port", "port show"},
		{"port show", "port show"},
		{"show port", "port show"},
		{"sh po", "port show"},
		{"p a eth1 mode observe", "port add"},
		{"nat add snat", "nat add snat"},
		{"nat a d x", "nat add dnat"},
		{"i", "interface show"},
		{"flow", "flow list"},
		{"show flow", "flow list"},
		{"flow list", "flow list"},
		{"show status", "status"},
		{"stat", "status"},
		{"counters --check", "counters show"},
		{"show counters --check", "counters show"},
		{"ap file", "apply"},
		{"rol", "rollback"},
		{"config", "config show"},
	};
	char why[CLI_ERROR];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *path = found(rows[i].line, why);

		if (!path)
			fail_msg("`%s`: %s", rows[i].line, why);
		assert_string_equal(path, rows[i].path);
	}
}

static void test_refused_words(void **state)
{
	static const struct {
		const char *line, *words;
	} rows[] = {
		{"", "what is wanted? port, vlan"},
		{"ro", "'ro' is ambiguous: route, rollback"},
		{"c", "'c' is ambiguous: counters, config, confirm, check"},
		{"s", "'s' is ambiguous: save, status, show"},
		{"bridge", "'bridge' is no noun or command: port, vlan"},
		{"port frobnicate", "'frobnicate' is no verb: show, add, delete"},
		{"nat add", "what is wanted? snat, dnat, static"},
		{"show confirm", "'confirm' is nothing to show"},
		{"show apply", "'apply' is nothing to show"},
	};
	char why[CLI_ERROR];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_null(found(rows[i].line, why));
		if (strncmp(why, rows[i].words, strlen(rows[i].words)) != 0)
			fail_msg("`%s`: %s", rows[i].line, why);
	}
}

static void test_items(void **state)
{
	static const struct {
		const char *line, *json;
	} rows[] = {
		{"port add eth1 mode access vlan 10", "{\"name\": \"eth1\", \"mode\": \"access\", \"vlan\": 10}"},
		{"port add eth1 mode trunk vlans 10,20,30-40 native 1",
		 "{\"name\": \"eth1\", \"mode\": \"trunk\", \"vlans\": [10, 20, \"30-40\"], \"native\": 1}"},
		{"port add vnet* m routed x off", "{\"name\": \"vnet*\", \"mode\": \"routed\", \"xdp\": \"off\"}"},
		{"vlan add 10 name web", "{\"id\": 10, \"name\": \"web\"}"},
		{"interface add vlan10 vlan 10 address 10.0.10.1/24 address 2001:db8::1/64",
		 "{\"name\": \"vlan10\", \"vlan\": 10, \"addresses\": [\"10.0.10.1/24\", \"2001:db8::1/64\"]}"},
		{"route add 10.0.0.0/8 via 192.0.2.1", "{\"to\": \"10.0.0.0/8\", \"via\": [{\"address\": \"192.0.2.1\"}]}"},
		{"route add 10.0.0.0/8 via 192.0.2.1 dev eth0 weight 2 nexthop via 192.0.2.5 onlink metric 7",
		 "{\"to\": \"10.0.0.0/8\", \"via\": [{\"address\": \"192.0.2.1\", \"interface\": \"eth0\", \"weight\": 2},"
		 " {\"address\": \"192.0.2.5\", \"onlink\": true}], \"metric\": 7}"},
		{"route add blackhole 10.0.0.0/8", "{\"to\": \"10.0.0.0/8\", \"type\": \"blackhole\"}"},
		{"route add 10.0.0.0/8 prohibit vrf red", "{\"to\": \"10.0.0.0/8\", \"type\": \"prohibit\", \"vrf\": \"red\"}"},
		{"route add default nhid uplinks", "{\"to\": \"default\", \"nexthop\": \"uplinks\"}"},
		{"route replace 10.0.0.0/8 via 192.0.2.1 mtu 1400",
		 "{\"to\": \"10.0.0.0/8\", \"via\": [{\"address\": \"192.0.2.1\"}], \"mtu\": 1400}"},
		{"route add 10.0.0.0/8 nexthop via 192.0.2.1 nexthop via 192.0.2.5",
		 "{\"to\": \"10.0.0.0/8\", \"via\": [{\"address\": \"192.0.2.1\"}, {\"address\": \"192.0.2.5\"}]}"},
		{"interface replace vlan10 vlan 10 mss clamp", "{\"name\": \"vlan10\", \"vlan\": 10, \"mss\": \"clamp\"}"},
		{"interface show state absent", "{\"?state\": \"absent\"}"},
		{"vrf replace blue table 7 import red", "{\"name\": \"blue\", \"table\": [7], \"import\": [{\"vrf\": \"red\"}]}"},
		{"nat add snat keep from 10.1.0.0/16 to none before lan",
		 "{\"name\": \"keep\", \"source\": \"10.1.0.0/16\", \"to\": \"none\", \"before\": \"lan\", \"type\": \"snat\"}"},
		{"nat add static mail inside 10.0.10.25 outside 203.0.113.25 after lan",
		 "{\"name\": \"mail\", \"inside\": \"10.0.10.25\", \"outside\": \"203.0.113.25\", \"after\": \"lan\", \"type\": "
		 "\"static\"}"},
		{"nexthop add isp1 via 192.0.2.1 dev up1 onlink",
		 "{\"name\": \"isp1\", \"address\": \"192.0.2.1\", \"interface\": \"up1\", \"onlink\": true}"},
		{"nexthop add id hole blackhole", "{\"name\": \"hole\", \"type\": \"blackhole\"}"},
		{"nexthop add both group isp1,3/isp2",
		 "{\"name\": \"both\", \"group\": [{\"nexthop\": \"isp1\", \"weight\": 3}, \"isp2\"]}"},
		{"nexthop delete both", "{\"name\": \"both\"}"},
		{"vrf add blue", "{\"name\": \"blue\"}"},
		{"vrf add blue table 102,103 import red prefix 10.0.0.0/8 prefix 11.0.0.0/8 import default",
		 "{\"name\": \"blue\", \"table\": [102, 103], \"import\": [{\"vrf\": \"red\", \"prefixes\": [\"10.0.0.0/8\", "
		 "\"11.0.0.0/8\"]}, {\"vrf\": \"default\"}]}"},
		{"vrf add blue import red prefix 10.0.0.0/8 ge 16 le 24 prefix deny 11.0.0.0/8 prefix 12.0.0.0/8 le 9 import "
		 "default",
		 "{\"name\": \"blue\", \"import\": [{\"vrf\": \"red\", \"prefixes\": [\"10.0.0.0/8 ge 16 le 24\", \"deny "
		 "11.0.0.0/8\", "
		 "\"12.0.0.0/8 le 9\"]}, {\"vrf\": \"default\"}]}"},
		{"vrf add blue import red prefix permit 10.9.0.0/16 le 24 prefix deny 10.0.0.0/8 ge 9",
		 "{\"name\": \"blue\", \"import\": [{\"vrf\": \"red\", \"prefixes\": [\"permit 10.9.0.0/16 le 24\", \"deny "
		 "10.0.0.0/8 "
		 "ge 9\"]}]}"},
		{"nat add snat lan from 10.0.0.0/8 out eth0 to masquerade",
		 "{\"name\": \"lan\", \"source\": \"10.0.0.0/8\", \"out\": [\"eth0\"], \"to\": \"masquerade\", \"type\": "
		 "\"snat\"}"},
		{"nat add snat lan to 192.0.2.1-192.0.2.9,192.0.2.20 ports 5000-6000",
		 "{\"name\": \"lan\", \"to\": [\"192.0.2.1-192.0.2.9\", \"192.0.2.20\"], \"ports\": \"5000-6000\", \"type\": "
		 "\"snat\"}"},
		{"nat add dnat web on eth0 protocol tcp,udp port 443 to 10.0.0.1:8443",
		 "{\"name\": \"web\", \"destination\": \"eth0\", \"protocol\": [\"tcp\", \"udp\"], \"port\": 443, \"to\": "
		 "\"10.0.0.1:8443\", "
		 "\"type\": \"dnat\"}"},
		{"nat add dnat web on 192.0.2.1 protocol tcp port 8000-8010 to 10.0.0.1",
		 "{\"name\": \"web\", \"destination\": \"192.0.2.1\", \"protocol\": \"tcp\", \"port\": \"8000-8010\", \"to\": "
		 "\"10.0.0.1\", "
		 "\"type\": \"dnat\"}"},
		{"nat add snat lan to masquerade mapping address-and-port-dependent overload limit sessions=10,ports=5 timeouts "
		 "udp=2m,icmp=30 on-delete keep",
		 "{\"name\": \"lan\", \"to\": \"masquerade\", \"mapping\": \"address-and-port-dependent\", \"overload\": true, "
		 "\"limit\": {\"sessions\": 10, \"ports\": 5}, \"timeouts\": {\"udp\": \"2m\", \"icmp\": 30}, \"on-delete\": "
		 "\"keep\", "
		 "\"type\": \"snat\"}"},
		{"nat add dnat web on eth0 protocol tcp port 80 to 10.3.0.5 to-vrf blue",
		 "{\"name\": \"web\", \"destination\": \"eth0\", \"protocol\": \"tcp\", \"port\": 80, \"to\": \"10.3.0.5\", "
		 "\"to-vrf\": \"blue\", \"type\": \"dnat\"}"},
		{"nat add static mail inside 10.0.10.25 outside 203.0.113.25 out eth0,eth1",
		 "{\"name\": \"mail\", \"inside\": \"10.0.10.25\", \"outside\": \"203.0.113.25\", \"out\": [\"eth0\", \"eth1\"], "
		 "\"type\": \"static\"}"},
		{"fdb add 02:00:00:00:00:01 vlan 10 port eth1",
		 "{\"mac\": \"02:00:00:00:00:01\", \"vlan\": 10, \"port\": \"eth1\"}"},
		{"neighbor delete 10.0.0.7 dev vlan10", "{\"address\": \"10.0.0.7\", \"interface\": \"vlan10\"}"},
		{"flow list limit 5", "{\"?limit\": 5}"},
		{"flow list proto tcp and dst 10.0.0.0/8 limit 5",
		 "{\"?filter\": \"proto tcp and dst 10.0.0.0/8\", \"?limit\": 5}"},
		{"flow count tcp by src sort bytes", "{\"?filter\": \"tcp\", \"?by\": \"src\", \"?sort\": \"bytes\"}"},
		{"flow flush all", "{\"?filter\": \"all\"}"},
		{"flow watch", "{}"},
		{"fdb flush vlan 10", "{\"?vlan\": 10}"},
		{"counters --check", "{\"?check\": \"1\"}"},
		{"apply f.yaml --confirm 60s --dry-run", "{\"file\": \"f.yaml\", \"?confirm\": \"60s\", \"?dry-run\": \"1\"}"},
		{"apply f.yaml --yes", "{\"file\": \"f.yaml\", \"?force\": \"1\"}"},
		{"rollback 3", "{\"?steps\": 3}"},
		{"rollback", "{}"},
	};
	char why[CLI_ERROR];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *args = parsed(rows[i].line, why), *expected = json_loads(rows[i].json, 0, NULL);
		char *text;

		assert_non_null(expected);
		if (!args)
			fail_msg("`%s`: %s", rows[i].line, why);
		text = json_dumps(args, 0);
		if (!json_equal(args, expected))
			fail_msg("`%s`: %s", rows[i].line, text);
		free(text);
		json_decref(args);
		json_decref(expected);
	}
}

static void test_refused_parameters(void **state)
{
	static const struct {
		const char *line, *words;
	} rows[] = {
		{"port add", "NAME is missing"},
		{"port add eth1", "mode MODE is missing"},
		{"port add eth1 mode", "'mode' wants a value: MODE"},
		{"port add eth1 mode sideways", "mode: 'sideways' is not one of: access trunk routed observe"},
		{"port add eth1 mode access vlan ten", "vlan: 'ten' is not a number"},
		{"port add eth1 mode access vlan 99999999999999999999", "vlan: '99999999999999999999' is not a number"},
		{"port add eth1 mode access mode trunk", "'mode' was already given"},
		{"port add eth1 mode access vl 10", "'vl' is ambiguous: vlan, vlans"},
		{"port add eth1 eth2 mode access", "'eth2' does not belong to `sluice port add`"},
		{"port show all", "'all' does not belong to `sluice port show`"},
		{"route add 10.0.0.0/8 via 1.1.1.1 via 2.2.2.2",
		 "'via' was already given: a second way out starts with 'nexthop'"},
		{"route add 10.0.0.0/8 via 1.1.1.1 nexthop", "'nexthop' wants what it begins: another way out"},
		{"route add 10.0.0.0/8 via 1.1.1.1 nexthop metric 5", "'nexthop' wants what it begins"},
		{"route add 10.0.0.0/8 via 1.1.1.1 nexthop nexthop via 2.2.2.2", "'nexthop' wants what it begins"},
		{"vrf add blue import red prefix", "'prefix' wants a value: FILTER[,…]"},
		{"vrf add blue import red prefix deny", "'prefix' wants a value: FILTER[,…]"},
		{"vrf add blue import red prefix permit", "'prefix' wants a value: FILTER[,…]"},
		{"vrf add blue import red prefix permit deny 10.0.0.0/8", "'10.0.0.0/8' does not belong to `sluice vrf add`"},
		{"vrf add blue import red prefix 10.0.0.0/8 deny 11.0.0.0/8", "'deny' does not belong to `sluice vrf add`"},
		{"vrf add blue import red prefix 10.0.0.0/8 ge", "'ge' wants a length of a prefix: N"},
		{"vrf add blue import red prefix deny 10.0.0.0/8 le", "'le' wants a length of a prefix: N"},
		{"vrf add blue import red prefix 10.0.0.0/8 ge ten", "ge 'ten' is no length of a prefix"},
		{"vrf add blue import red prefix 10.0.0.0/8 ge 9 le import red", "le 'import' is no length of a prefix"},
		{"vrf add blue import red prefix 10.0.0.0/8 eq 9", "'eq' does not belong to `sluice vrf add`"},
		{"vrf add blue import red ge 9", "'ge' does not belong to `sluice vrf add`"},
		{"interface show state gone", "state: 'gone' is not one of: up down absent"},
		{"route add 10.0.0.0/8 blackhole prohibit", "'prohibit' was already given"},
		{"nexthop add both group isp1//isp2", "group: 'isp1//isp2' is not of the form NAME[,WEIGHT][/…]"},
		{"nexthop add both group isp1,", "group: 'isp1,' is not of the form NAME[,WEIGHT][/…]"},
		{"vlan add --dry", "'--dry' does not belong to `sluice vlan add`"},
		{"neighbor add 10.0.0.1 mac 02:00:00:00:00:01", "dev IFACE is missing"},
		{"check", "FILE is missing"},
		{"apply f --confirm 0s", "--confirm: '0s' is not a time in 1s..86400s"},
		{"apply f --confirm soon", "--confirm: 'soon' is not a time in 1s..86400s"},
		{"port delete eth1 --confirm 25h", "--confirm: '25h' is not a time in 1s..86400s"},
		{"port delete eth1 --yes", "'--yes' does not belong to `sluice port delete`"},
	};
	char why[CLI_ERROR];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_null(parsed(rows[i].line, why));
		if (strncmp(why, rows[i].words, strlen(rows[i].words)) != 0)
			fail_msg("`%s`: %s", rows[i].line, why);
	}
}

static void test_globals_stand_anywhere(void **state)
{
	char buf[256], why[CLI_ERROR], *argv[WORDS];
	bool help = false, version = false;
	struct cli cli = {.instance = "default"};
	int argc = split("sluice port -j show -i gw --socket /s", buf, argv);

	assert_int_equal(cli_globals(&cli, &argc, argv, &help, &version, why), 0);
	assert_int_equal(argc, 3);
	assert_string_equal(argv[1], "port");
	assert_string_equal(argv[2], "show");
	assert_null(argv[3]);
	assert_true(cli.json && !cli.pretty && !help && !version);
	assert_string_equal(cli.instance, "gw");
	assert_string_equal(cli.socket, "/s");
	argc = split("sluice port -i", buf, argv);
	assert_int_equal(cli_globals(&cli, &argc, argv, &help, &version, why), -1);
	assert_string_equal(why, "-i wants a value");
	argc = split("sluice port -i ../../x", buf, argv);
	assert_int_equal(cli_globals(&cli, &argc, argv, &help, &version, why), -1);
	assert_non_null(strstr(why, "'../../x' is no name of an instance"));
}

/* The table itself: nothing that the parser, the usage or a request would stumble over. */
static void test_table(void **state)
{
	static const char *const of_filters[] = {" ge ", " le ", "deny ", "permit "};

	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];
		char *text = NULL;
		size_t len = 0;
		FILE *to = open_memstream(&text, &len);

		assert_non_null(c->help);
		assert_non_null(c->run);
		assert_true(!c->url || strncmp(c->url, "/v1/", 4) == 0);
		assert_true(!c->url == !c->method);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(commands[k].path, c->path);
		for (const struct param *p = c->params; p && (p->key || p->value); p++) {
			assert_true(p->json || p->flags & PARAM_NEW_HOP);
			for (const struct param *q = c->params; q != p; q++)
				assert_true(!p->key || !q->key || strcmp(p->key, q->key) != 0);
		}
		usage_command(to, c);
		fclose(to);
		assert_non_null(strstr(text, c->path));
		for (const struct param *p = c->params; p && (p->key || p->value); p++)
			for (size_t k = 0; p->type == VALUE_FILTERS && k < sizeof(of_filters) / sizeof(of_filters[0]); k++)
				assert_non_null(strstr(text, of_filters[k]));
		assert_non_null(strstr(text, c->help));
		free(text);
	}
}

static char *usage_of(const char *path)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	usage_prefix(to, path);
	fclose(to);
	return text;
}

/* The texts begin in one column, where a value has a character of several bytes as well; and none is without a word. */
static void test_usage_columns(void **state)
{
	char *text = usage_of("nat add dnat");

	assert_non_null(strstr(text, "\n  to ADDR[:PORT]         the server"));
	assert_non_null(strstr(text, "\n  timeouts KEY=TIME[,…]  tcp-established"));
	assert_non_null(strstr(text, "\n  port PORT|LO-HI        of the connections"));
	free(text);
	text = usage_of("flow list");
	for (const char *const *w = (const char *const[]){" net ", " sctp ", " gre ", " esp ", NULL}; *w; w++)
		assert_non_null(strstr(text, *w));
	free(text);
}

/* Every example of the usage is a command that its own table understands. */
static void test_examples(void **state)
{
	size_t n = 0;
	char why[CLI_ERROR];

	for (size_t i = 0; i < n_commands; i++) {
		json_t *args;

		if (!commands[i].example)
			continue;
		assert_true(strncmp(commands[i].example, "sluice ", 7) == 0);
		assert_string_equal(found(commands[i].example + 7, why), commands[i].path);
		args = parsed(commands[i].example + 7, why);
		if (!args)
			fail_msg("`%s`: %s", commands[i].example, why);
		json_decref(args);
		n++;
	}
	assert_true(n > 5);
}

/* Words for people and for programs: one line, whatever became of the request. */
static void test_words_are_one_line(void **state)
{
	struct cli cli = {.instance = "nobody", .socket = "/nonexistent/api.sock"};
	struct answer answer = {0};
	char why[CLI_ERROR];

	assert_int_equal(client_request(&cli, "GET", "/v1", NULL, NULL, 0, &answer, why), -1);
	assert_non_null(strstr(why, "/nonexistent/api.sock"));
	assert_null(strchr(why, '\n'));
}

static void test_directory_is_called_one(void **state)
{
	size_t len = 0;
	char *text = NULL;

	assert_int_equal(file_read("/tmp", &text, &len), -EISDIR);
}

static void test_cells(void **state)
{
	json_t *v = json_pack("[i, s, b, n, [s, s]]", 7, "x", 1, "a", "b");
	char buf[16];

	cell_text(v, buf, sizeof(buf));
	assert_string_equal(buf, "7,x,yes,,a,b");
	cell_text(v, buf, 6); /* never beyond the room that there is */
	assert_string_equal(buf, "7,x,y");
	cell_text(NULL, buf, sizeof(buf));
	assert_string_equal(buf, "");
	json_decref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_refused_words),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_refused_parameters),
		cmocka_unit_test(test_globals_stand_anywhere),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_usage_columns),
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_words_are_one_line),
		cmocka_unit_test(test_directory_is_called_one),
		cmocka_unit_test(test_cells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
