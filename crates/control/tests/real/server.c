/* Answers every HTTP request with $SAY, one thread for each connection. With $BROKEN it exits at once; on SIGTERM it
 * ends. It listens on $PORT, or 8080. GET /call/NAME:PORT asks http://NAME:PORT/ and answers with what that says; names are looked up in /etc/hosts. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int look_up(const char *name, struct in_addr *address)
{
	FILE *hosts = fopen("/etc/hosts", "r");
	char line[256];
	int found = 0;
	while (hosts && !found && fgets(line, sizeof line, hosts)) {
		char *rest, *word = strtok_r(line, " \t\n", &rest), *known;
		if (!word || inet_pton(AF_INET, word, address) != 1)
			continue;
		while ((known = strtok_r(0, " \t\n", &rest)))
			found |= !strcmp(known, name);
	}
	if (hosts)
		fclose(hosts);
	return found;
}

/* What another service says, or why it says nothing. */
static void call(const char *name, int port, char *said, size_t room)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	char text[1024];
	size_t have = 0;
	ssize_t got;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!look_up(name, &to.sin_addr)) {
		snprintf(said, room, "unknown name");
	} else if (connect(fd, (void *)&to, sizeof to)) {
		snprintf(said, room, "no connection");
	} else {
		dprintf(fd, "GET / HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n\r\n", name, port);
		while (have < sizeof text - 1 && (got = read(fd, text + have, sizeof text - 1 - have)) > 0)
			have += got;
		text[have] = 0;
		char *body = strstr(text, "\r\n\r\n");
		snprintf(said, room, "%s", body ? body + 4 : "no answer");
	}
	close(fd);
}

static void *serve(void *argument)
{
	int fd = (int)(long)argument;
	char request[4096];
	size_t have = 0;
	for (;;) {
		ssize_t got = read(fd, request + have, sizeof request - 1 - have);
		if (got <= 0)
			break;
		have += got;
		request[have] = 0;
		if (!strstr(request, "\r\n\r\n"))
			continue;
		char said[256], name[64], answer[512];
		const char *say = getenv("SAY");
		int port;
		if (sscanf(request, "GET /call/%63[^:]:%d", name, &port) == 2)
			call(name, port, said, sizeof said);
		else
			snprintf(said, sizeof said, "%s", say ? say : "?");
		int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
				      strlen(said), said);
		if (write(fd, answer, length) != length)
			break;
		have = 0;
	}
	close(fd);
	return 0;
}

static void end(int signal)
{
	(void)signal;
	_exit(0);
}

int main(void)
{
	if (getenv("BROKEN")) {
		fprintf(stderr, "I am broken\n");
		return 3;
	}
	signal(SIGTERM, end);
	signal(SIGPIPE, SIG_IGN);
	const char *port = getenv("PORT");
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port ? atoi(port) : 8080)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (void *)&address, sizeof address) || listen(listener, 128))
		return 1;
	for (;;) {
		int fd = accept(listener, 0, 0);
		pthread_t thread;
		if (fd < 0)
			continue;
		if (pthread_create(&thread, 0, serve, (void *)(long)fd))
			close(fd);
		else
			pthread_detach(thread);
	}
}
