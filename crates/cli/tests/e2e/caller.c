/* The client of the black-box tests: `caller NAME PORT [PATH]` looks NAME up in /etc/hosts, gets PATH and prints the
 * answer. `caller write FILE` makes a file, `caller say TEXT` prints to both streams and exits with 3. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int find(const char *wanted, char *address) {
    char line[512];
    FILE *hosts = fopen("/etc/hosts", "r");
    while (hosts && fgets(line, sizeof line, hosts)) {
        char *at = strtok(line, " \t\n"), *name;
        while (at && (name = strtok(NULL, " \t\n")))
            if (!strcmp(name, wanted)) return strcpy(address, at) != NULL;
    }
    return 0;
}

int main(int argc, char **argv) {
    char address[64], answer[4096];
    if (argc > 2 && !strcmp(argv[1], "write")) return open(argv[2], O_CREAT | O_WRONLY, 0600) < 0;
    if (argc > 2 && !strcmp(argv[1], "say")) {
        printf("%s\n", argv[2]);
        fprintf(stderr, "not %s uid %d %s\n", argv[2], getuid(), getenv("TOLD") ? getenv("TOLD") : "");
        return 3;
    }
    if (argc < 3 || !find(argv[1], address)) return fprintf(stderr, "no such name\n"), 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, address, &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return perror("connect"), 1;
    dprintf(fd, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", argc > 3 ? argv[3] : "/", argv[1]);
    ssize_t got = read(fd, answer, sizeof answer - 1);
    if (got <= 0) return fprintf(stderr, "no answer\n"), 1;
    return write(1, answer, got) != got;
}
