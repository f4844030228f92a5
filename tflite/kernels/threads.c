// A small pool. Items are handed out one by one and the caller works, too: it waits for items a
// worker has taken, never for a worker that has not come. Workers look for the next job a while
// before they sleep, because the layers of a net follow each other within microseconds and waking
// a thread takes longer than a small layer.
#include "internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

// How long anything is polled for, and how many pauses lie between two offers to let another thread
// have the CPU: the runtime's own threads want it between our layers.
enum { POLL_NANOSECONDS = 100000, PAUSES = 32 };

struct hb_pool {
  int threads, started;
  pthread_t workers[HB_MAX_THREADS];
  pthread_mutex_t owner;  // held by the caller whose job runs; others run theirs alone
  pthread_mutex_t lock;   // for sleeping only
  pthread_cond_t wake, done;
  // Number of the job << 32 | its next item. An item is taken by advancing it, which fails if the
  // job has changed since; while a job is written the item is CLOSED.
  atomic_uint_least64_t ticket;
  atomic_uint count, finished;
  _Atomic(void (*)(void *, int, int)) task;
  _Atomic(void *) arg;
  atomic_int asleep;          // workers that need waking
  atomic_bool caller_sleeps;  // the last item's worker has to say so
  atomic_bool stop;
};

#define CLOSED UINT32_MAX

typedef struct {
  hb_pool *pool;
  int thread;
} worker_start;

static uint32_t job_of(uint64_t ticket) { return (uint32_t)(ticket >> 32); }

static void take_items(hb_pool *p, int thread) {
  for (;;) {
    uint64_t ticket = atomic_load(&p->ticket);
    const uint32_t item = (uint32_t)ticket, count = atomic_load(&p->count);
    void (*task)(void *, int, int) = atomic_load(&p->task);
    void *arg = atomic_load(&p->arg);
    if (item >= count) return;
    if (!atomic_compare_exchange_weak(&p->ticket, &ticket, ticket + 1)) continue;
    task(arg, thread, (int)item);
    if (atomic_fetch_add(&p->finished, 1) + 1 < count || !atomic_load(&p->caller_sleeps)) continue;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
  }
}

static void pause_cpu(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// Polls until ready(p, job) or for POLL_NANOSECONDS.
static void poll(hb_pool *p, uint32_t job, bool (*ready)(hb_pool *, uint32_t)) {
  for (const int64_t end = nanoseconds() + POLL_NANOSECONDS; nanoseconds() < end; sched_yield())
    for (int i = 0; i < PAUSES; ++i) {
      if (ready(p, job)) return;
      pause_cpu();
    }
}

static bool has_new_job(hb_pool *p, uint32_t last) {
  return job_of(atomic_load(&p->ticket)) != last || atomic_load(&p->stop);
}

static bool is_finished(hb_pool *p, uint32_t job) {
  (void)job;
  return atomic_load(&p->finished) == atomic_load(&p->count);
}

static void *work(void *start) {
  hb_pool *p = ((worker_start *)start)->pool;
  const int thread = ((worker_start *)start)->thread;
  free(start);
  for (uint32_t job = 0; !atomic_load(&p->stop); job = job_of(atomic_load(&p->ticket))) {
    take_items(p, thread);
    poll(p, job, has_new_job);
    if (has_new_job(p, job)) continue;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->asleep, 1);
    while (!has_new_job(p, job)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->asleep, 1);
    pthread_mutex_unlock(&p->lock);
  }
  return NULL;
}

hb_pool *hb_pool_create(int threads) {
  if (threads < 1 || threads > HB_MAX_THREADS) {
    hb_fail("%d threads; allowed are 1 to %d", threads, HB_MAX_THREADS);
    return NULL;
  }
  hb_pool *p = calloc(1, sizeof *p);
  if (!p) return hb_fail("no memory for a pool of threads"), NULL;
  p->threads = threads;
  pthread_mutex_init(&p->owner, NULL);
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->done, NULL);
  for (int t = 1; t < threads; ++t) {
    worker_start *s = malloc(sizeof *s);
    if (s) *s = (worker_start){p, t};
    if (!s || pthread_create(&p->workers[t - 1], NULL, work, s) != 0) {
      free(s);
      hb_fail("a pool of %d threads cannot be started", threads);
      hb_pool_destroy(p);
      return NULL;
    }
    ++p->started;
  }
  return p;
}

void hb_pool_destroy(hb_pool *p) {
  if (!p) return;
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->stop, true);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  for (int t = 0; t < p->started; ++t) pthread_join(p->workers[t], NULL);
  pthread_cond_destroy(&p->done);
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->lock);
  pthread_mutex_destroy(&p->owner);
  free(p);
}

int hb_pool_threads(const hb_pool *p) { return p ? p->threads : 1; }

static void run_alone(int count, void (*task)(void *, int, int), void *arg) {
  for (int i = 0; i < count; ++i) task(arg, 0, i);
}

// Shows workers a job; nobody is at work on another one.
static void publish(hb_pool *p, uint32_t job, int count, void (*task)(void *, int, int),
                    void *arg) {
  atomic_store(&p->ticket, (uint64_t)(job - 1) << 32 | CLOSED);
  atomic_store(&p->count, (unsigned)count);
  atomic_store(&p->task, task);
  atomic_store(&p->arg, arg);
  atomic_store(&p->finished, 0);
  atomic_store(&p->ticket, (uint64_t)job << 32);
  if (atomic_load(&p->asleep) == 0) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

static void await_items(hb_pool *p, uint32_t job) {
  poll(p, job, is_finished);
  if (is_finished(p, job)) return;
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->caller_sleeps, true);
  while (!is_finished(p, job)) pthread_cond_wait(&p->done, &p->lock);
  atomic_store(&p->caller_sleeps, false);
  pthread_mutex_unlock(&p->lock);
}

void hb_pool_run(hb_pool *p, int count, void (*task)(void *, int, int), void *arg) {
  if (!p || p->started == 0 || count < 2 || pthread_mutex_trylock(&p->owner) != 0) {
    run_alone(count, task, arg);
    return;
  }
  const uint32_t job = job_of(atomic_load(&p->ticket)) + 1;
  publish(p, job, count, task, arg);
  take_items(p, 0);
  await_items(p, job);
  pthread_mutex_unlock(&p->owner);
}
