/* nat_syslog.c: lines to the system's logger that never wait for it.
 *
 * Stands between nat_log.c and the datagram socket /dev/log. syslog(3) waits when the logger does not keep up, and the event loop
 * may not; here the line is lost, and counted. The form is that of RFC 3164, as syslog(3) writes it to this socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "nat_priv.h"

#define SYSLOG_LINE 1024 /* RFC 3164 4.1: no more at once */

static int logger_connect(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int nat_syslog_ready(int *fd)
{
	struct pollfd p = {.events = POLLOUT};

	if (*fd < 0)
		*fd = logger_connect();
	if (*fd < 0)
		return *fd;
	p.fd = *fd;
	return poll(&p, 1, 0) == 1 ? 0 : -EAGAIN;
}

int nat_syslog(int *fd, const char *text)
{
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	char line[SYSLOG_LINE];
	time_t now = time(NULL);
	struct tm tm;
	int n;

	localtime_r(&now, &tm);
	n = snprintf(line, sizeof(line), "<%d>%s %2d %02d:%02d:%02d sluiced[%d]: nat %s", LOG_DAEMON | LOG_INFO,
		     months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)getpid(), text);
	if (n < 0 || n >= (int)sizeof(line))
		return -EMSGSIZE;
	/* A logger that was started anew has another socket under the old name. */
	for (int again = 0; again < 2; again++) {
		if (*fd < 0)
			*fd = logger_connect();
		if (*fd < 0)
			return *fd;
		if (send(*fd, line, (size_t)n, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
			return -EAGAIN;
		close(*fd);
		*fd = -1;
	}
	return -EPIPE;
}
