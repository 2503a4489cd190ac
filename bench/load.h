/* What the load generator's two protocols share: the requests, who waits for which reply, and the samples. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
  const char *at;
  uint32_t length;
};

/* One request as it goes out, and what its reply must hold to count. */
struct request {
  struct bytes payload;
  struct bytes id;
  struct bytes verdict;
};

/* One of the outstanding requests: its place is taken by the next one when the reply has come. */
struct slot {
  const struct request *request;
  uint64_t sent_ns;
};

struct load {
  const struct request *requests;
  size_t request_count;
  size_t next_request;
  struct slot *slots;
  int outstanding;
  uint64_t duration_ns;
  uint64_t begun_ns;
  uint64_t last_reply_ns;
  uint32_t *samples_ns;
  size_t sample_count;
};

uint64_t now_ns(void);

/* Ends the program with a message: a run with a wrong or missing reply has no result. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A loopback TCP connection that sends at once. */
int connect_to(int port);

/* Writes all of it, however many calls that takes. */
void write_all(int fd, const char *bytes, size_t length);

/* Starts the time, once the connections stand. */
void begin(struct load *load);

/* Checks the reply to a slot's request and takes its time. */
void take_reply(struct load *load, struct slot *slot, const char *reply, size_t length);

/* The slot's next request; NULL when the time is over. */
const struct request *next_request(struct load *load, struct slot *slot);

/* Keep `outstanding` requests under way until the time is over, then wait for the last replies. */
void run_nats(struct load *load, int port, const char *subject);
void run_http(struct load *load, int port);

#endif
