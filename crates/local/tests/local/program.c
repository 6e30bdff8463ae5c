/* The program that instances run in the tests: one static binary, many behaviours. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result) {
    printf("%s=%s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

static int make(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd >= 0) close(fd);
    return fd;
}

static void copy(const char *path, const char *prefix) {
    char line[512];
    FILE *file = fopen(path, "r");
    if (!file) { printf("%s: %s\n", path, strerror(errno)); return; }
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, prefix, strlen(prefix))) fputs(line, stdout);
    fclose(file);
}

/* What this process may do, one fact per line. */
static void look(void) {
    char name[256];
    gid_t groups[32];
    gethostname(name, sizeof name);
    printf("pid=%d uid=%d gid=%d host=%s\n", getpid(), getuid(), getgid(), name);
    int count = getgroups(32, groups);
    printf("groups=");
    for (int i = 0; i < count; i++) printf("%d ", groups[i]);
    printf("\nhome=%s\n", getenv("HOME") ? getenv("HOME") : "");
    say("write /", make("/intruder"));
    say("write /etc", make("/etc/intruder"));
    say("write /app", open("/app", O_WRONLY));
    say("remount /", mount("", "/", "", MS_REMOUNT | MS_BIND, ""));
    say("write /tmp", make("/tmp/file"));
    say("write /run", make("/run/file"));
    say("write /dev/shm", make("/dev/shm/file"));
    say("write sysctl", open("/proc/sys/kernel/hostname", O_WRONLY));
    say("mknod", mknod("/tmp/null", S_IFCHR | 0666, 0x103));
    say("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    say("unshare", unshare(CLONE_NEWUSER));
    say("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    say("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    say("bpf", syscall(SYS_bpf, 0, 0, 0));
    say("clone3", syscall(SYS_clone3, 0, 0));
    say("clone newns", syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0));
    say("af_alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
    say("tiocsti", ioctl(0, TIOCSTI, ""));
    say("unknown", syscall(2000));
    copy("/proc/self/status", "CapEff");
    copy("/proc/self/status", "CapBnd");
    copy("/proc/self/status", "NoNewPrivs");
    copy("/proc/self/status", "Seccomp:");
    copy("/proc/self/status", "SigIgn");
    copy("/proc/self/limits", "Max open files");
    copy("/proc/keys", "");
    copy("/etc/hosts", "");
    copy("/proc/net/route", "eth0");
    fflush(stdout);
}

static void answer(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (void *)&address, sizeof address) || listen(server, 64)) { perror("listen"); exit(3); }
    printf("listening on %d\n", port);
    fflush(stdout);
    for (;;) {
        char request[1024] = "";
        int client = accept(server, 0, 0);
        if (client < 0) continue;
        if (read(client, request, sizeof request - 1) < 0) { close(client); continue; }
        /* GET /sick makes every later answer a 503. */
        static int sick;
        if (!strncmp(request, "GET /sick", 9)) sick = 1;
        char reply[128], name[64];
        gethostname(name, sizeof name);
        snprintf(reply, sizeof reply, "HTTP/1.1 %s\r\nConnection: close\r\n\r\n%s\n", sick ? "503 Sick" : "200 OK", name);
        if (write(client, reply, strlen(reply)) < 0) perror("write");
        close(client);
    }
}

static void bye(int signal) {
    (void)signal;
    if (write(1, "bye\n", 4)) {}
    _exit(0);
}

static int call(const char *address, int port) {
    char line[256] = "";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_aton(address, &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&to, sizeof to)) { perror("connect"); return 1; }
    if (write(fd, "GET / HTTP/1.0\r\n\r\n", 18) < 0) return 1;
    while (read(fd, line, sizeof line - 1) > 0) { fputs(line, stdout); memset(line, 0, sizeof line); }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "sleep";
    if (!strcmp(what, "serve")) { signal(SIGTERM, bye); answer(atoi(argv[2])); }
    if (!strcmp(what, "hello")) { puts("hello"); return 0; }
    if (!strcmp(what, "exit")) { fprintf(stderr, "%s\n", argv[3]); return atoi(argv[2]); }
    if (!strcmp(what, "look")) { look(); }
    if (!strcmp(what, "facts")) { look(); return 0; }
    if (!strcmp(what, "ignore")) { signal(SIGTERM, SIG_IGN); puts("ignoring"); fflush(stdout); }
    if (!strcmp(what, "graceful")) { signal(SIGTERM, bye); puts("waiting"); fflush(stdout); }
    if (!strcmp(what, "crash")) { puts("going down"); fflush(stdout); raise(SIGKILL); abort(); }
    if (!strcmp(what, "hog")) for (;;) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); }
    if (!strcmp(what, "flood")) for (long n = 0;; n++) printf("line %ld of a program that never stops talking\n", n);
    if (!strcmp(what, "fork")) {
        int made = 0;
        while (fork() > 0) if (++made > 100000) break;
        if (getpid() == 1) { printf("forked %d then %s\n", made, strerrorname_np(errno)); fflush(stdout); }
    }
    if (!strcmp(what, "children")) for (int i = 0; i < 20; i++) if (!fork()) { for (;;) pause(); }
    if (!strcmp(what, "touch")) { int fd = make(argv[2]); if (fd < 0) perror(argv[2]); return fd < 0; }
    if (!strcmp(what, "exists")) return access(argv[2], F_OK) != 0;
    if (!strcmp(what, "print")) { copy(argv[2], ""); return 0; }
    if (!strcmp(what, "has")) {
        static char bytes[1 << 16];
        int fd = open(argv[2], O_RDONLY);
        ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
        return got < 0 || !memmem(bytes, got, argv[3], strlen(argv[3]));
    }
    if (!strcmp(what, "getenv")) { const char *value = getenv(argv[2]); puts(value ? value : "unset"); return 0; }
    if (!strcmp(what, "call")) return call(argv[2], atoi(argv[3]));
    if (!strcmp(what, "stat")) {
        struct stat it;
        if (stat(argv[2], &it)) { perror(argv[2]); return 1; }
        printf("%d:%d %o\n", it.st_uid, it.st_gid, it.st_mode & 07777);
        return 0;
    }
    for (;;) pause();
}
