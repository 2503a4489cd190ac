/* Requests over HTTP/1.1 connections that are kept alive, one outstanding on each. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { reply_timeout_ms = 3000, reply_size = 4096, events_at_once = 256 };

struct connection {
  int fd;
  struct slot *slot;
  char reply[reply_size];
  size_t length;
};

static int send_next(struct load *load, struct connection *connection) {
  const struct request *request = next_request(load, connection->slot);
  if (request == NULL) return 0;
  write_all(connection->fd, request->payload.at, request->payload.length);
  return 1;
}

/* Reads; 1 when the reply is whole. */
static int reply_is_whole(struct connection *connection) {
  char *reply = connection->reply;
  ssize_t count = recv(connection->fd, reply + connection->length, reply_size - 1 - connection->length, 0);
  if (count < 0 && errno == EINTR) return 0;
  if (count <= 0) fail("the service closed a connection, or its reply is over %d bytes", reply_size);
  connection->length += (size_t)count;
  reply[connection->length] = '\0';
  const char *body = strstr(reply, "\r\n\r\n");
  if (body == NULL) return 0;
  const char *length = strcasestr(reply, "\r\nContent-Length:");
  if (strncmp(reply, "HTTP/1.1 200 ", 13) != 0 || length == NULL || length > body) fail("not the reply expected: %s", reply);
  return connection->length >= (size_t)(body + 4 - reply) + strtoul(length + 17, NULL, 10);
}

void run_http(struct load *load, int port) {
  int poller = epoll_create1(EPOLL_CLOEXEC);
  struct connection *connections = calloc((size_t)load->outstanding, sizeof *connections);
  if (poller < 0 || connections == NULL) fail("no memory");
  for (int index = 0; index < load->outstanding; index += 1) {
    struct connection *connection = &connections[index];
    *connection = (struct connection){.fd = connect_to(port), .slot = &load->slots[index]};
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &wanted) != 0) fail("epoll: %s", strerror(errno));
  }
  begin(load);
  int under_way = 0;
  for (int index = 0; index < load->outstanding; index += 1) under_way += send_next(load, &connections[index]);
  while (under_way > 0) {
    struct epoll_event events[events_at_once];
    int count = epoll_wait(poller, events, events_at_once, reply_timeout_ms);
    if (count == 0) fail("no reply for %d ms, %d under way", reply_timeout_ms, under_way);
    for (int index = 0; index < count; index += 1) {
      struct connection *connection = events[index].data.ptr;
      if (!reply_is_whole(connection)) continue;
      take_reply(load, connection->slot, connection->reply, connection->length);
      connection->length = 0;
      under_way -= 1;
      under_way += send_next(load, connection);
    }
  }
  for (int index = 0; index < load->outstanding; index += 1) close(connections[index].fd);
  close(poller);
}
