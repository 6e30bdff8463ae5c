/*
 * A small static HTTP/1.1 server: one thread, epoll, keep-alive. It knows four paths, answers GET and HEAD,
 * and on SIGTERM finishes what is under way and exits. Written to be compiled with -static and to run as the
 * only file of an image.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 8080, HEAD_LIMIT = 16 * 1024, CONNECTIONS = 4096, EVENTS = 256 };

struct connection {
    int fd;
    size_t have;             /* bytes of `in` that are filled */
    size_t out_have, out_sent;
    int closing;             /* close as soon as `out` is sent */
    struct connection *next, *previous;
    char in[HEAD_LIMIT];
    char out[2048];
};

static struct connection *all;
static int open_count, stopping, epoll;
static const char *version;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int operation, int fd, unsigned events, void *data)
{
    struct epoll_event event = { .events = events, .data.ptr = data };
    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        die("epoll_ctl");
}

static void drop(struct connection *c)
{
    if (c->previous)
        c->previous->next = c->next;
    else
        all = c->next;
    if (c->next)
        c->next->previous = c->previous;
    close(c->fd); /* also takes it out of epoll */
    free(c);
    open_count--;
}

static void take(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct connection *c = open_count < CONNECTIONS ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd;
    c->next = all;
    if (all)
        all->previous = c;
    all = c;
    open_count++;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN, c);
}

/* Whether the head has this header with this value. Both without case. */
static int has_header(const char *head, const char *name, const char *value)
{
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        line += length + 1;
        line += strspn(line, " \t");
        size_t end = strcspn(line, "\r");
        if (!value || (end == strlen(value) && strncasecmp(line, value, end) == 0))
            return 1;
    }
    return 0;
}

static void say(struct connection *c, const char *status, const char *body, int with_body, int keep)
{
    int length = snprintf(c->out, sizeof c->out,
                          "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n"
                          "Connection: %s\r\n\r\n%s",
                          status, strlen(body), keep ? "keep-alive" : "close", with_body ? body : "");
    c->out_have = (size_t)length;
    c->out_sent = 0;
    c->closing = !keep;
}

static void answer(struct connection *c, const char *head)
{
    int is_head = strncmp(head, "HEAD ", 5) == 0;
    int is_get = strncmp(head, "GET ", 4) == 0;
    const char *path = head + (is_head ? 5 : 4);
    size_t path_length = strcspn(path, " ?\r");
    int http11 = strstr(head, " HTTP/1.1\r\n") != NULL;
    int keep = !stopping && (http11 ? !has_header(head, "connection", "close")
                                    : has_header(head, "connection", "keep-alive"));
    /* We never read bodies: a request that has one ends the connection. */
    if (has_header(head, "transfer-encoding", NULL)
        || (has_header(head, "content-length", NULL) && !has_header(head, "content-length", "0")))
        keep = 0;
    if (!is_get && !is_head)
        say(c, "405 Method Not Allowed", "only GET and HEAD\n", 1, 0);
    else if (path_length == 1 && path[0] == '/')
        say(c, "200 OK", "<!doctype html><title>static</title><p>hello from a single file\n", is_get, keep);
    else if (path_length == 8 && memcmp(path, "/healthz", 8) == 0)
        say(c, "200 OK", "ok\n", is_get, keep);
    else if (path_length == 8 && memcmp(path, "/version", 8) == 0)
        say(c, "200 OK", version, is_get, keep);
    else
        say(c, "404 Not Found", "there is nothing here\n", is_get, keep);
}

/* Sends what is there, then answers the next request that is in the buffer. Returns 0 when the connection is gone. */
static int work(struct connection *c)
{
    for (;;) {
        while (c->out_sent < c->out_have) {
            ssize_t n = send(c->fd, c->out + c->out_sent, c->out_have - c->out_sent, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno == EAGAIN) {
                watch(EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
                return 1;
            }
            if (n < 0) {
                drop(c);
                return 0;
            }
            c->out_sent += (size_t)n;
        }
        if (c->closing) {
            drop(c);
            return 0;
        }
        c->out_have = c->out_sent = 0;
        char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
        if (!end) {
            if (c->have < HEAD_LIMIT) {
                watch(EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
                return 1;
            }
            say(c, "431 Request Header Fields Too Large", "too long a head\n", 1, 0);
            c->have = 0;
            continue;
        }
        end[2] = '\0'; /* the head as a string that ends in one CRLF */
        answer(c, c->in);
        size_t used = (size_t)(end - c->in) + 4;
        memmove(c->in, c->in + used, c->have - used);
        c->have -= used;
    }
}

static void readable(struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, HEAD_LIMIT - c->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->have += (size_t)n;
    work(c);
}

static int listen_on(int port)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port) };
    int one = 1, zero = 0;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1024) == 0)
            return fd;
        close(fd);
    }
    /* A machine without IPv6. */
    struct sockaddr_in plain = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&plain, sizeof plain) < 0 || listen(fd, 1024) < 0)
        die("listen");
    return fd;
}

/* No new connection; idle ones are closed, the others once their answer is sent. */
static void stop(int listener)
{
    stopping = 1;
    close(listener);
    for (struct connection *c = all, *next; c; c = next) {
        char byte;
        next = c->next;
        int idle = c->have == 0 && c->out_have == 0;
        if (idle && recv(c->fd, &byte, 1, MSG_PEEK) <= 0) /* nothing has come in since the last round either */
            drop(c);
    }
}

int main(void)
{
    static int listener_mark, signal_mark;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (signal_fd < 0 || epoll < 0)
        die("set up");
    const char *port = getenv("PORT");
    version = getenv("VERSION");
    if (!version || strlen(version) > 256)
        version = "none";
    int listener = listen_on(port ? atoi(port) : PORT);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener_mark);
    watch(EPOLL_CTL_ADD, signal_fd, EPOLLIN, &signal_mark);
    printf("serving on port %d\n", port ? atoi(port) : PORT);
    fflush(stdout);

    struct epoll_event events[EVENTS];
    while (!stopping || open_count > 0) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        int stop_now = 0;
        for (int i = 0; i < count; i++) {
            void *what = events[i].data.ptr;
            if (what == &listener_mark)
                take(listener);
            else if (what == &signal_mark)
                stop_now = 1; /* after the requests of this round */
            else if (events[i].events & EPOLLOUT)
                work(what);
            else
                readable(what);
        }
        if (stop_now && !stopping) {
            watch(EPOLL_CTL_DEL, signal_fd, 0, NULL);
            stop(listener);
        }
    }
    puts("answered the last request");
    return 0;
}
