/* An engine that answers at once: the same bytes to every request, streamed where it was asked for.

   One thread and epoll, so that it costs next to nothing beside the router that is measured. A request's
   body is read to its end by Content-Length or in chunks; nothing else of HTTP is looked at. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CAPACITY = 1 << 20, MOST = 4096 };

struct connection {
  size_t length;
  char bytes[CAPACITY];
};

static char plain[2048], streamed[16384], models[1024];
static size_t plain_length, streamed_length, models_length;
static struct connection *connections[MOST];

static void prepare(void) {
  const char *body =
      "{\"id\":\"cmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"tiny\",\"choices\":[{\"index\":0,"
      "\"message\":{\"role\":\"assistant\",\"content\":\"The quick brown fox jumps over the lazy dog.\"},"
      "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":10,\"total_tokens\":22}}";
  plain_length = snprintf(plain, sizeof plain,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          strlen(body), body);
  const char *list =
      "{\"object\":\"list\",\"data\":[{\"id\":\"tiny\",\"object\":\"model\",\"created\":1,\"owned_by\":\"bench\"}],"
      "\"model_path\":\"tiny\",\"status\":\"ok\"}";
  models_length = snprintf(models, sizeof models,
                           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                           strlen(list), list);
  size_t at = snprintf(streamed, sizeof streamed,
                       "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int word = 0; word < 10; word++) {
    char event[512];
    int size = snprintf(event, sizeof event,
                        "data: {\"id\":\"cmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"tiny\","
                        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word%d\"},\"finish_reason\":null}]}\n\n",
                        word);
    at += snprintf(streamed + at, sizeof streamed - at, "%x\r\n%s\r\n", size, event);
  }
  const char *usage =
      "data: {\"id\":\"cmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"tiny\",\"choices\":[],"
      "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":10,\"total_tokens\":22}}\n\n";
  at += snprintf(streamed + at, sizeof streamed - at, "%zx\r\n%s\r\n", strlen(usage), usage);
  const char *done = "data: [DONE]\n\n";
  at += snprintf(streamed + at, sizeof streamed - at, "%zx\r\n%s\r\n0\r\n\r\n", strlen(done), done);
  streamed_length = at;
}

/* Length of the first whole request in the buffer, or 0. */
static size_t whole(struct connection *c, size_t *head) {
  char *end = memmem(c->bytes, c->length, "\r\n\r\n", 4);
  if (!end) return 0;
  *head = end - c->bytes + 4;
  size_t body = 0;
  for (char *line = c->bytes; line < end;) {
    char *next = memmem(line, end + 2 - line, "\r\n", 2);
    if (!next) break;
    if (!strncasecmp(line, "content-length:", 15)) body = strtoul(line + 15, NULL, 10);
    if (!strncasecmp(line, "transfer-encoding:", 18)) {
      char *last = memmem(c->bytes + *head, c->length - *head, "\r\n0\r\n\r\n", 7);
      return last ? (size_t)(last - c->bytes) + 7 : 0;
    }
    line = next + 2;
  }
  return c->length >= *head + body ? *head + body : 0;
}

static void reply(int fd, struct connection *c, size_t head, size_t size) {
  if (!strncmp(c->bytes, "GET", 3)) {
    write(fd, models, models_length);
  } else if (memmem(c->bytes + head, size - head, "\"stream\":true", 13)) {
    write(fd, streamed, streamed_length);
  } else {
    write(fd, plain, plain_length);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  prepare();
  int one = 1, listening = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listening, (void *)&address, sizeof address) || listen(listening, 1024)) return 1;
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, ready[256];
  epoll_ctl(poll, EPOLL_CTL_ADD, listening, &event);
  for (;;) {
    int count = epoll_wait(poll, ready, 256, -1);
    for (int n = 0; n < count; n++) {
      int fd = ready[n].data.fd;
      if (fd == listening) {
        int accepted = accept(listening, NULL, NULL);
        if (accepted < 0 || accepted >= MOST) {
          close(accepted);
          continue;
        }
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (!connections[accepted]) connections[accepted] = malloc(sizeof(struct connection));
        connections[accepted]->length = 0;
        event.data.fd = accepted;
        epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &event);
        continue;
      }
      struct connection *c = connections[fd];
      ssize_t got = read(fd, c->bytes + c->length, CAPACITY - c->length);
      if (got <= 0) {
        close(fd);
        continue;
      }
      c->length += got;
      size_t head, size;
      while (c->length && (size = whole(c, &head))) {
        reply(fd, c, head, size);
        memmove(c->bytes, c->bytes + size, c->length - size);
        c->length -= size;
      }
    }
  }
}
