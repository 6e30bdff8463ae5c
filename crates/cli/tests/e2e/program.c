/* The service that the black-box tests deploy: HTTP/1.1 with keep-alive, a thread for each connection.
 * VERSION  is part of every answer        EXIT=N         prints a complaint and exits with N at once
 * HEALTH   is the status of /healthz      FLOOD=1        prints without end
 * IGNORE_TERM=1   does not stop at SIGTERM
 * FAIL_PERCENT=N  answers N of every hundred requests with 500
 * DELAY_MS=N      takes so long for every answer
 * DIE_AFTER_MS=N  exits so long after its start
 * /healthz is neither failed nor delayed. /slow?ms=N answers after N milliseconds, /ws echoes over a WebSocket.
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
#include <time.h>
#include <unistd.h>

static atomic_int stopping, open_connections;
static atomic_uint asked;
static const char *version, *health;
static unsigned fail_percent, delay_ms, die_after_ms;

static const char *env(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static unsigned number(const char *name) { return (unsigned)atoi(env(name, "0")); }

static void on_term(int number) { (void)number; atomic_store(&stopping, 1); }

static void rest(unsigned ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) && errno == EINTR) continue;
}

static int send_all(int fd, const char *bytes, size_t length) {
    for (size_t sent = 0; sent < length;) {
        ssize_t done = send(fd, bytes + sent, length - sent, MSG_NOSIGNAL);
        if (done <= 0) return 0;
        sent += done;
    }
    return 1;
}

static int recv_all(int fd, unsigned char *bytes, size_t length) {
    for (size_t have = 0; have < length;) {
        ssize_t got = recv(fd, bytes + have, length - have, 0);
        if (got <= 0) return 0;
        have += got;
    }
    return 1;
}

/* Sends every short frame back unmasked, and ends after a Close frame. The handshake's key is always the one of
 * RFC 6455's example. */
static void echo(int fd) {
    static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    unsigned char frame[2 + 125], mask[4];
    if (!send_all(fd, accepted, sizeof accepted - 1)) return;
    while (recv_all(fd, frame, 2)) {
        size_t length = frame[1] & 0x7f;
        if (length > 125 || !recv_all(fd, mask, 4) || !recv_all(fd, frame + 2, length)) return;
        for (size_t i = 0; i < length; i++) frame[2 + i] ^= mask[i % 4];
        frame[1] = length;
        if (!send_all(fd, (char *)frame, 2 + length) || (frame[0] & 0x0f) == 8) return;
    }
}

static void answer(int fd, const char *path) {
    char host[64] = "", body[256], head[512];
    gethostname(host, sizeof host - 1);
    const char *status = "200 OK", *word = "hello";
    if (strcmp(path, "/healthz")) {
        rest(delay_ms);
        unsigned count = atomic_fetch_add(&asked, 1);
        /* Evenly spread: the same share in every run. */
        if ((count + 1) * fail_percent / 100 > count * fail_percent / 100) status = "500 Internal Server Error", word = "failed";
    }
    if (!strncmp(path, "/slow?ms=", 9)) rest((unsigned)atoi(path + 9));
    snprintf(body, sizeof body, "%s %s from %s\n", word, version, host);
    if (!strcmp(path, "/healthz")) {
        status = health;
        snprintf(body, sizeof body, "health %s\n", health);
    } else if (!strcmp(path, "/write")) {
        /* Tries to change the running instance. */
        int file = open("/changed", O_CREAT | O_WRONLY, 0644);
        snprintf(body, sizeof body, "%s\n", file < 0 ? strerror(errno) : "written");
        if (file >= 0) close(file);
    }
    const char *named = "/env?name=";
    if (!strncmp(path, named, strlen(named))) {
        const char *value = getenv(path + strlen(named));
        snprintf(body, sizeof body, "%s", value ? value : "unset");
    }
    int length = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body),
                          atomic_load(&stopping) ? "Connection: close\r\n" : "", body);
    send_all(fd, head, length);
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
        if (!strcmp(path, "/ws")) {
            echo(fd);
            break;
        }
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

static void *die(void *unused) {
    (void)unused;
    rest(die_after_ms);
    fprintf(stderr, "out of luck\n");
    _exit(1);
}

int main(void) {
    version = env("VERSION", "one");
    health = env("HEALTH", "200 OK");
    fail_percent = number("FAIL_PERCENT"), delay_ms = number("DELAY_MS"), die_after_ms = number("DIE_AFTER_MS");
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
    if (die_after_ms) {
        pthread_t thread;
        pthread_create(&thread, NULL, die, NULL);
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
