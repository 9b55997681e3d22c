// A threaded program for the debugger tests: three threads visit, then with an argument the main thread goes on
// visiting.
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int counter;

__attribute__((noinline)) void visited(int n) {
  __atomic_add_fetch(&counter, n, __ATOMIC_SEQ_CST);
}

static void* run(void* number) {
  visited((int)(long)number);
  return NULL;
}

int main(int argc, char** argv) {
  pthread_t threads[3];
  for (long i = 0; i < 3; i++) pthread_create(&threads[i], NULL, run, (void*)(i + 1));
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  printf("%s counted %d\n", argv[0], counter);
  fflush(stdout);
  while (argc > 1) {
    visited(1);
    usleep(10000);
  }
  return 7;
}
