/*
 * A load generator that is not the bottleneck: keeps a fixed number of requests outstanding, sends the next one as each
 * reply comes, checks every reply, and prints one line of JSON. One thread, so that of two cores one and a half are left.
 *
 *   load nats PORT OUTSTANDING MILLISECONDS FILE SUBJECT
 *   load http PORT OUTSTANDING MILLISECONDS FILE
 *
 * FILE holds, for each request: its bytes, the bytes of the id and those of the verdict that the reply must hold, each
 * after its length in 32 bits, little-endian.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { max_outstanding = 4096, max_samples = 8 * 1000 * 1000 };

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int connect_to(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    fail("cannot connect to port %d: %s", port, strerror(errno));
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = send(fd, bytes, length, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot send: %s", strerror(errno));
    bytes += written;
    length -= (size_t)written;
  }
}

void begin(struct load *load) { load->begun_ns = now_ns(); }

static int holds(const char *reply, size_t length, struct bytes wanted) {
  return memmem(reply, length, wanted.at, wanted.length) != NULL;
}

void take_reply(struct load *load, struct slot *slot, const char *reply, size_t length) {
  const struct request *request = slot->request;
  if (request == NULL) fail("a reply to no request");
  if (!holds(reply, length, request->id) || !holds(reply, length, request->verdict))
    fail("a reply without the id or the verdict that belongs to its request: %.*s", (int)length, reply);
  if (load->sample_count == max_samples) fail("more than %d replies", max_samples);
  load->last_reply_ns = now_ns();
  load->samples_ns[load->sample_count++] = (uint32_t)(load->last_reply_ns - slot->sent_ns);
  slot->request = NULL;
}

const struct request *next_request(struct load *load, struct slot *slot) {
  uint64_t now = now_ns();
  if (now - load->begun_ns >= load->duration_ns) return NULL;
  slot->request = &load->requests[load->next_request];
  slot->sent_ns = now;
  load->next_request = (load->next_request + 1) % load->request_count;
  return slot->request;
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail("cannot open %s: %s", path, strerror(errno));
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  char *content = malloc(*size + 1);
  if (content == NULL || fread(content, 1, *size, file) != *size) fail("cannot read %s", path);
  fclose(file);
  return content;
}

static struct bytes take_bytes(const char **at, const char *end) {
  struct bytes taken;
  if (end - *at < 4) fail("the file of requests is cut off");
  memcpy(&taken.length, *at, 4);
  taken.at = *at + 4;
  if (taken.length > (size_t)(end - taken.at)) fail("the file of requests is cut off");
  *at = taken.at + taken.length;
  return taken;
}

static void read_requests(struct load *load, const char *path) {
  size_t size;
  const char *at = read_file(path, &size);
  const char *end = at + size;
  struct request *requests = NULL;
  while (at < end) {
    if ((load->request_count & (load->request_count + 1)) == 0)
      requests = realloc(requests, (2 * load->request_count + 2) * sizeof *requests);
    if (requests == NULL) fail("no memory for the requests");
    struct request *request = &requests[load->request_count++];
    request->payload = take_bytes(&at, end);
    request->id = take_bytes(&at, end);
    request->verdict = take_bytes(&at, end);
  }
  if (load->request_count == 0) fail("no requests");
  load->requests = requests;
}

static int compare(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static double quantile_us(const struct load *load, double quantile) {
  return load->samples_ns[(size_t)((double)(load->sample_count - 1) * quantile)] / 1e3;
}

static double own_cpu_ms(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

int main(int argc, char **argv) {
  if (argc < 6) fail("usage: load nats|http PORT OUTSTANDING MILLISECONDS FILE [SUBJECT]");
  struct load load = {.outstanding = atoi(argv[3]), .duration_ns = (uint64_t)atoi(argv[4]) * 1000000u};
  if (load.outstanding < 1 || load.outstanding > max_outstanding) fail("1 to %d outstanding", max_outstanding);
  read_requests(&load, argv[5]);
  load.slots = calloc((size_t)load.outstanding, sizeof *load.slots);
  load.samples_ns = malloc(max_samples * sizeof *load.samples_ns);
  if (load.slots == NULL || load.samples_ns == NULL) fail("no memory");

  if (strcmp(argv[1], "nats") == 0 && argc == 7) run_nats(&load, atoi(argv[2]), argv[6]);
  else if (strcmp(argv[1], "http") == 0) run_http(&load, atoi(argv[2]));
  else fail("nats with a subject, or http");
  if (load.sample_count == 0) fail("no reply");

  qsort(load.samples_ns, load.sample_count, sizeof *load.samples_ns, compare);
  printf("{\"replies\":%zu,\"seconds\":%.6f,\"p50Us\":%.1f,\"p99Us\":%.1f,\"cpuMs\":%.1f}\n", load.sample_count,
         (double)(load.last_reply_ns - load.begun_ns) / 1e9, quantile_us(&load, 0.5), quantile_us(&load, 0.99), own_cpu_ms());
  return 0;
}
