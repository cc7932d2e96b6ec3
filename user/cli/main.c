/* main.c: the program `sluice`: finds the command, hands it its parameters, ends with its exit code.
 */
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "version.h"

static int usage_error(const struct cli *cli, const char *why, const char *prefix)
{
	cli_fail(cli, EXIT_USAGE, why);
	if (!cli->json)
		fprintf(stderr, "try: sluice%s%s --help\n", *prefix ? " " : "", prefix);
	return EXIT_USAGE;
}

/* --help after whatever was understood: all of it, a noun's verbs, or one command. */
static int help(int argc, char **argv)
{
	char prefix[64] = "", why[CLI_ERROR];
	const struct command *cmd;
	int used = 0;

	cmd = cli_walk(argc, argv, &used, prefix, why);
	if (cmd)
		usage_command(stdout, cmd);
	else if (*prefix)
		usage_prefix(stdout, prefix);
	else
		usage_all(stdout);
	return EXIT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
	char prefix[64] = "", why[CLI_ERROR] = "";
	const struct command *cmd;
	json_t *args;
	int used = 0, code;

	cmd = cli_find(argc, argv, &used, prefix, why);
	if (!cmd)
		return usage_error(cli, why, prefix);
	args = cli_params(cmd, argc - used, argv + used, why);
	if (!args)
		return usage_error(cli, why, cmd->path);
	code = cmd->run(cli, cmd, args);
	json_decref(args);
	return code;
}

/* `__complete [-i NAME] [-s SOCKET] -- WORD...`, as packaging/sluice.bash asks. */
static int run_complete(struct cli *cli, int argc, char **argv)
{
	bool ignored = false;
	char why[CLI_ERROR];
	int n = 1;

	while (n < argc && strcmp(argv[n], "--") != 0)
		n++;
	if (n == argc || cli_globals(cli, &(int){n}, argv, &ignored, &ignored, why))
		return EXIT_USAGE;
	return complete(cli, argc - n - 1, argv + n + 1);
}

int main(int argc, char **argv)
{
	struct cli cli = {.instance = "default"};
	bool want_help = false, want_version = false;
	char why[CLI_ERROR];
	int code;

	if (argc > 1 && strcmp(argv[1], "__complete") == 0)
		return run_complete(&cli, argc - 1, argv + 1);
	if (cli_globals(&cli, &argc, argv, &want_help, &want_version, why))
		return usage_error(&cli, why, "");
	if (want_version) {
		puts("sluice " SLUICE_VERSION);
		return EXIT_OK;
	}
	if (argc > 1 && strcmp(argv[1], "help") == 0)
		return help(argc - 2, argv + 2);
	if (want_help)
		return help(argc - 1, argv + 1);
	if (argc == 1) {
		usage_all(stderr);
		return EXIT_USAGE;
	}
	code = run(&cli, argc - 1, argv + 1);
	if (fflush(stdout) && code == EXIT_OK)
		code = EXIT_REFUSED;
	return code;
}
