/*
 * Requests over one NATS connection, spoken directly: what one read brings is answered by one write. libnats has either
 * a flusher that adds a millisecond or a system call for each message, and neither suits both 1 and 512 outstanding.
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { reply_timeout_ms = 3000, buffer_size = 4 * 1024 * 1024 };

struct nats {
  int fd;
  const char *subject;
  /* Whose reply is told by the last token of the subject it comes on. */
  char inbox[64];
  size_t inbox_length;
  char *in;
  size_t in_length;
  char *out;
  size_t out_length;
  int under_way;
};

static void fill(struct nats *nats) {
  struct pollfd poller = {.fd = nats->fd, .events = POLLIN};
  if (poll(&poller, 1, reply_timeout_ms) == 0) fail("no reply for %d ms, %d under way", reply_timeout_ms, nats->under_way);
  ssize_t count = recv(nats->fd, nats->in + nats->in_length, buffer_size - nats->in_length, 0);
  if (count < 0 && errno == EINTR) return;
  if (count <= 0) fail("the broker closed the connection");
  nats->in_length += (size_t)count;
}

static void flush(struct nats *nats) {
  write_all(nats->fd, nats->out, nats->out_length);
  nats->out_length = 0;
}

static void append(struct nats *nats, const char *bytes, size_t length) {
  if (length > buffer_size - nats->out_length) fail("the requests do not fit the buffer");
  memcpy(nats->out + nats->out_length, bytes, length);
  nats->out_length += length;
}

static void publish(struct nats *nats, struct load *load, int index) {
  const struct request *request = next_request(load, &load->slots[index]);
  if (request == NULL) return;
  char line[256];
  int length = snprintf(line, sizeof line, "PUB %s %s%d %u\r\n", nats->subject, nats->inbox, index, request->payload.length);
  append(nats, line, (size_t)length);
  append(nats, request->payload.at, request->payload.length);
  append(nats, "\r\n", 2);
  nats->under_way += 1;
}

/* MSG <subject> <sid> <bytes>, or HMSG, which only failures and "no responders" come as. */
static const char *take_message(struct nats *nats, struct load *load, char *line, char *line_end, const char *end) {
  if (strncmp(line, "MSG ", 4) != 0) fail("%.*s in place of a reply: a failure, or nobody answers", 80, line);
  size_t length = strtoul(strrchr(line, ' ') + 1, NULL, 10);
  const char *payload = line_end + 2;
  if ((size_t)(end - payload) < length + 2) return NULL;
  int index = atoi(line + 4 + nats->inbox_length);
  if (strncmp(line + 4, nats->inbox, nats->inbox_length) != 0 || index < 0 || index >= load->outstanding)
    fail("a message on a subject of somebody else: %s", line);
  take_reply(load, &load->slots[index], payload, length);
  nats->under_way -= 1;
  publish(nats, load, index);
  return payload + length + 2;
}

/* Takes every whole message of what has been read; what is cut off stays for the next read. */
static void take_messages(struct nats *nats, struct load *load) {
  const char *at = nats->in, *end = nats->in + nats->in_length;
  for (;;) {
    char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
    if (line_end == NULL) break;
    if (strncmp(at, "PING", 4) == 0) {
      append(nats, "PONG\r\n", 6);
    } else if (strncmp(at, "-ERR", 4) == 0) {
      fail("the broker says %.*s", (int)(line_end - at), at);
    } else if (*at == 'M' || *at == 'H') {
      *line_end = '\0';
      const char *next = take_message(nats, load, (char *)at, line_end, end);
      *line_end = '\r';
      if (next == NULL) break;
      at = next;
      continue;
    }
    at = line_end + 2;
  }
  nats->in_length = (size_t)(end - at);
  memmove(nats->in, at, nats->in_length);
}

static void greet(struct nats *nats) {
  char greeting[256];
  int length = snprintf(greeting, sizeof greeting,
                        "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n"
                        "SUB %s* 1\r\nPING\r\n",
                        nats->inbox);
  write_all(nats->fd, greeting, (size_t)length);
  while (memmem(nats->in, nats->in_length, "PONG\r\n", 6) == NULL) fill(nats);
  nats->in_length = 0;
}

void run_nats(struct load *load, int port, const char *subject) {
  struct nats nats = {.fd = connect_to(port), .subject = subject};
  nats.in = malloc(buffer_size);
  nats.out = malloc(buffer_size);
  if (nats.in == NULL || nats.out == NULL) fail("no memory");
  nats.inbox_length = (size_t)snprintf(nats.inbox, sizeof nats.inbox, "_INBOX.bench-%d.", (int)getpid());
  greet(&nats);
  begin(load);
  for (int index = 0; index < load->outstanding; index += 1) publish(&nats, load, index);
  flush(&nats);
  while (nats.under_way > 0) {
    fill(&nats);
    take_messages(&nats, load);
    flush(&nats);
  }
  close(nats.fd);
}
