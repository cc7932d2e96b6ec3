/* sluiced.c: the program: options in, exit code out. Everything else is in daemon.c and destroy.c.
 *
 * Exit codes: 0 ended as told, 1 the start failed (one line for each problem on stderr), 2 usage.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include "daemon.h"
#include "datapath.h"
#include "log.h"
#include "state.h"
#include "version.h"

enum { OPT_CHECK_HOST = 256, OPT_DESTROY, OPT_STOP, OPT_TRACE, OPT_VERSION };

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"instance", required_argument, NULL, 'i'},
	{"socket", required_argument, NULL, 's'},
	{"check-host", no_argument, NULL, OPT_CHECK_HOST},
	{"destroy", no_argument, NULL, OPT_DESTROY},
	{"stop", no_argument, NULL, OPT_STOP},
	{"test-trace", no_argument, NULL, OPT_TRACE},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void usage(FILE *to)
{
	fputs("usage: sluiced [-c FILE] [-i INSTANCE] [-s SOCKET] [-v]\n"
	      "       sluiced --check-host\n"
	      "       sluiced --destroy [--stop] [-i INSTANCE]\n"
	      "\n"
	      "  -c, --config FILE    configuration (" DAEMON_CONFIG ")\n"
	      "  -i, --instance NAME  which switch (" DAEMON_INSTANCE ")\n"
	      "  -s, --socket PATH    socket of the API (" STATE_RUN "/INSTANCE/api.sock)\n"
	      "  -v, --verbose        log what the event loop does that takes a millisecond\n"
	      "      --check-host     say what this host lacks, and end\n"
	      "      --destroy        take the instance away: programs, tables, netdevs, routes, saved state\n"
	      "      --stop           with --destroy: end the sluiced that runs it first\n"
	      "      --test-trace     load programs that record traces, for tests\n"
	      "      --version        say the version\n"
	      "  -h, --help           say this\n",
	      to);
}

enum action { RUN, CHECK_HOST, DESTROY, VERSION, HELP, USAGE };

static enum action parse(int argc, char **argv, struct daemon_options *o, bool *ret_stop)
{
	enum action action = RUN;
	int c;

	while ((c = getopt_long(argc, argv, "c:i:s:vh", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'i':
			o->instance = optarg;
			break;
		case 's':
			o->socket = optarg;
			break;
		case 'v':
			log_verbose(true);
			break;
		case OPT_CHECK_HOST:
			action = CHECK_HOST;
			break;
		case OPT_DESTROY:
			action = DESTROY;
			break;
		case OPT_STOP:
			*ret_stop = true;
			break;
		case OPT_TRACE:
			o->trace = true;
			break;
		case OPT_VERSION:
			return VERSION;
		case 'h':
			return HELP;
		default:
			return USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sluiced: '%s' is no option\n", argv[optind]);
		return USAGE;
	}
	if (*ret_stop && action != DESTROY) {
		fputs("sluiced: --stop goes with --destroy\n", stderr);
		return USAGE;
	}
	if (!state_instance_ok(o->instance)) {
		fprintf(stderr, "sluiced: '%s' is no name of an instance: letters, digits, '-', '_', '.', at most 32\n",
			o->instance);
		return USAGE;
	}
	return action;
}

int main(int argc, char **argv)
{
	struct daemon_options o = {.run = STATE_RUN, .config = DAEMON_CONFIG, .instance = DAEMON_INSTANCE};
	struct errs errs = {0};
	char *config;
	bool stop = false;
	int r = 0;

	/* glibc keeps small blocks that were freed in lists, and one day joins them all in a single call: beside a full table
	 * that call takes 10 ms of a turn of the loop. Joined when they are freed, they cost no more than before, a little at a
	 * time. */
	mallopt(M_MXFAST, 0);
	/* Likewise the heap's end is given back to the kernel when enough of it is free, at once: 20 ms when many routes have
	 * gone. It is kept for the next ones; and what is large comes out of it too, as it would after a while (glibc's own
	 * limit). */
	mallopt(M_TRIM_THRESHOLD, -1);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	switch (parse(argc, argv, &o, &stop)) {
	case RUN:
		config = realpath(o.config, NULL);
		if (config)
			o.config = config;
		r = daemon_run(&o, &errs);
		free(config);
		break;
	case CHECK_HOST:
		r = datapath_check_host(&errs);
		if (!r)
			puts("this host can run sluiced");
		break;
	case DESTROY:
		r = daemon_destroy(&o, stop, &errs);
		break;
	case VERSION:
		puts("sluiced " SLUICE_VERSION);
		break;
	case HELP:
		usage(stdout);
		break;
	case USAGE:
		usage(stderr);
		return 2;
	}
	if (r)
		log_errs(NULL, &errs);
	errs_free(&errs);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
