// A small pool: workers sleep between jobs, items are handed out one by one.
#include "internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct hb_pool {
  int threads, started;
  pthread_t workers[HB_MAX_THREADS];
  pthread_mutex_t owner;  // held by the caller whose job runs; others run theirs alone
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  unsigned round;  // number of the current job, under lock
  int busy;        // workers still in it, under lock
  bool stop;
  int count;
  void (*task)(void *, int, int);
  void *arg;
  atomic_int next;
};

typedef struct {
  hb_pool *pool;
  int thread;
} worker_start;

static void take_items(hb_pool *p, int thread) {
  int i;
  while ((i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->count)
    p->task(p->arg, thread, i);
}

static void *work(void *start) {
  hb_pool *p = ((worker_start *)start)->pool;
  const int thread = ((worker_start *)start)->thread;
  free(start);
  unsigned seen = 0;
  pthread_mutex_lock(&p->lock);
  for (;;) {
    while (!p->stop && p->round == seen) pthread_cond_wait(&p->wake, &p->lock);
    if (p->stop) break;
    seen = p->round;
    pthread_mutex_unlock(&p->lock);
    take_items(p, thread);
    pthread_mutex_lock(&p->lock);
    if (--p->busy == 0) pthread_cond_signal(&p->done);
  }
  pthread_mutex_unlock(&p->lock);
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
  p->stop = true;
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

void hb_pool_run(hb_pool *p, int count, void (*task)(void *, int, int), void *arg) {
  if (!p || p->started == 0 || count < 2 || pthread_mutex_trylock(&p->owner) != 0) {
    run_alone(count, task, arg);
    return;
  }
  pthread_mutex_lock(&p->lock);
  p->count = count;
  p->task = task;
  p->arg = arg;
  atomic_store_explicit(&p->next, 0, memory_order_relaxed);
  p->busy = p->started;
  ++p->round;
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  take_items(p, 0);
  pthread_mutex_lock(&p->lock);
  while (p->busy) pthread_cond_wait(&p->done, &p->lock);
  pthread_mutex_unlock(&p->lock);
  pthread_mutex_unlock(&p->owner);
}
