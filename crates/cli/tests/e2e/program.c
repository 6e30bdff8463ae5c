/* The service that the black-box tests deploy: HTTP/1.1 with keep-alive, a thread for each connection.
 * VERSION  is part of every answer        EXIT=N         prints a complaint and exits with N at once
 * HEALTH   is the status of /healthz      FLOOD=1        prints without end
 * IGNORE_TERM=1  does not stop at SIGTERM
 * At SIGTERM it answers what is under way with Connection: close and exits when the last connection is gone. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int stopping, open_connections;
static const char *version, *health;

static const char *env(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static void on_term(int number) { (void)number; atomic_store(&stopping, 1); }

static void answer(int fd, const char *path) {
    char host[64] = "", body[256], head[512];
    gethostname(host, sizeof host - 1);
    const char *status = "200 OK";
    snprintf(body, sizeof body, "hello %s from %s\n", version, host);
    if (!strcmp(path, "/healthz")) {
        status = health;
        snprintf(body, sizeof body, "health %s\n", health);
    } else if (!strcmp(path, "/write")) {
        /* Tries to change the running instance. */
        int file = open("/changed", O_CREAT | O_WRONLY, 0644);
        snprintf(body, sizeof body, "%s\n", file < 0 ? strerror(errno) : "written");
        if (file >= 0) close(file);
    }
    int length = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body),
                          atomic_load(&stopping) ? "Connection: close\r\n" : "", body);
    for (int sent = 0; sent < length;) {
        ssize_t done = send(fd, head + sent, length - sent, MSG_NOSIGNAL);
        if (done <= 0) return;
        sent += done;
    }
}

static void *serve(void *argument) {
    int fd = (int)(long)argument;
    char request[8192];
    size_t have = 0;
    for (;;) {
        ssize_t got = recv(fd, request + have, sizeof request - 1 - have, 0);
        if (got <= 0) break;
        have += got;
        request[have] = 0;
        char *end = strstr(request, "\r\n\r\n");
        if (!end) continue;
        char path[256] = "/";
        sscanf(request, "%*s %255s", path);
        answer(fd, path);
        have = 0;
        if (atomic_load(&stopping)) break;
    }
    close(fd);
    atomic_fetch_sub(&open_connections, 1);
    return NULL;
}

static void *flood(void *unused) {
    (void)unused;
    for (;;) puts("flood flood flood flood flood flood flood flood");
    return NULL;
}

int main(void) {
    version = env("VERSION", "one");
    health = env("HEALTH", "200 OK");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (getenv("EXIT")) {
        fprintf(stderr, "cannot start: the database is missing\n");
        return atoi(getenv("EXIT"));
    }
    if (getenv("IGNORE_TERM")) signal(SIGTERM, SIG_IGN);
    else {
        struct sigaction action = {.sa_handler = on_term};
        sigaction(SIGTERM, &action, NULL);
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(env("PORT", "8080")))};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 512)) {
        perror("listen");
        return 1;
    }
    struct timeval wait = {.tv_usec = 50000};
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    printf("version %s serves\n", version);
    if (getenv("FLOOD")) {
        pthread_t thread;
        pthread_create(&thread, NULL, flood, NULL);
    }
    while (!atomic_load(&stopping)) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        /* Idle connections end soon after a stop: the proxy keeps them open otherwise. */
        struct timeval idle = {.tv_sec = 60};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
        pthread_t thread;
        atomic_fetch_add(&open_connections, 1);
        pthread_create(&thread, NULL, serve, (void *)(long)fd);
        pthread_detach(thread);
    }
    close(listener);
    /* The data plane has drained this instance before the signal: what is left are idle kept connections. */
    printf("version %s ends with %d open connections\n", version, atomic_load(&open_connections));
    return 0;
}
