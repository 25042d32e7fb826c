/* Wall clock of one process, moved by a file of 8 bytes: microseconds to add. The kernel ends a wait until a moment of
 * the wall clock when that clock reaches the moment, also if the clock is set meanwhile; so do the waits here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000, SLICE = 20000000;
static volatile int64_t *moved;

__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("TEST_WALL_CLOCK");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void *found = mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) moved = found;
  close(file);
}

static int64_t as_ns(const struct timespec *time) { return time->tv_sec * SECOND + time->tv_nsec; }

static void set_ns(struct timespec *time, int64_t ns) {
  time->tv_sec = ns / SECOND;
  time->tv_nsec = ns % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = (int)syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && moved != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    set_ns(time, as_ns(time) + *moved * 1000);
  return result;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  found->tv_sec = now.tv_sec;
  found->tv_usec = now.tv_nsec / 1000;
  return 0;
}

int timespec_get(struct timespec *found, int base) { return clock_gettime(CLOCK_REALTIME, found) == 0 ? base : 0; }

time_t time(time_t *found) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (found != NULL) *found = now.tv_sec;
  return now.tv_sec;
}

static int wait_until(void *condition, void *mutex, const struct timespec *end) {
  static int (*real)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
  if (real == NULL) real = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
  for (;;) {
    struct timespec now, slice;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = as_ns(end) - as_ns(&now);
    if (left <= 0) return ETIMEDOUT;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &slice);
    set_ns(&slice, as_ns(&slice) + (left < SLICE ? left : SLICE));
    int result = real(condition, mutex, CLOCK_MONOTONIC, &slice);
    if (result != ETIMEDOUT) return result;
  }
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict end) {
  int result = wait_until(condition, mutex, end);
  return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
}
