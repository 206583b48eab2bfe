#include "tests/support/http.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

char *test_http(const struct weir_http *server, const char *method, const char *target, const char *token,
                const char *extra, const char *body)
{
    return test_http_at(weir_http_address(server), method, target, token, extra, body);
}

char *test_http_at(const char *address, const char *method, const char *target, const char *token, const char *extra,
                   const char *body)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);

    struct weir_buf request = WEIR_BUF_INIT;
    weir_buf_printf(&request, "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %zu\r\n", method,
                    target, body == NULL ? 0 : strlen(body));
    if (token != NULL) weir_buf_printf(&request, "Authorization: Bearer %s\r\n", token);
    weir_buf_printf(&request, "%s\r\n%s", extra == NULL ? "" : extra, body == NULL ? "" : body);
    for (size_t sent = 0; sent < request.size;) {
        ssize_t wrote = write(fd, request.data + sent, request.size - sent);
        assert_true(wrote > 0);
        sent += (size_t)wrote;
    }
    weir_buf_fini(&request);

    size_t size = 0;
    size_t capacity = 1 << 16;
    char *reply = malloc(capacity + 1);
    for (ssize_t got; (got = read(fd, reply + size, capacity - size)) > 0;) {
        size += (size_t)got;
        if (size == capacity) reply = realloc(reply, (capacity *= 2) + 1);
    }
    reply[size] = '\0';
    close(fd);
    return reply;
}

const char *test_http_body(const char *reply)
{
    const char *end = strstr(reply, "\r\n\r\n");
    return end == NULL ? "" : end + 4;
}

int test_http_status(const char *reply)
{
    int status = 0;
    return sscanf(reply, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}
