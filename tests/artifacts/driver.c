/* Carries out a script from standard input with any network, and writes all results to standard output.
 * Compiled with -DNET=<name> -DHEADER="<name>.h"; numbers of the script are 64 bits wide, arrays follow as bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include HEADER

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define FN(name) JOIN(NET, name)

enum { INPUTS, TARGETS, OUTPUTS, METRICS, PARAMETERS, STATES, AXES, MOST = 64 };
enum { END, FORWARD, EVALUATE, TRAIN, BEGIN, STEP, CARRY, LOAD, DUMP, RATE, RESET };

#ifdef COUNTING
/* The linker puts these in the place of the allocator's functions. */
static unsigned long allocations;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
  allocations++;
  return __real_malloc(size);
}
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
  allocations++;
  return __real_calloc(n, size);
}
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size) {
  allocations++;
  return __real_realloc(old, size);
}
int __real_posix_memalign(void **to, size_t align, size_t size);
int __wrap_posix_memalign(void **to, size_t align, size_t size);
int __wrap_posix_memalign(void **to, size_t align, size_t size) {
  allocations++;
  return __real_posix_memalign(to, align, size);
}
void __real_free(void *old);
void __wrap_free(void *old);
void __wrap_free(void *old) {
  allocations++;
  __real_free(old);
}
#else
static const unsigned long allocations = 0;
#endif

static void take(void *to, size_t size) {
  if (size != 0 && fread(to, size, 1, stdin) != 1) {
    fprintf(stderr, "the script ends early\n");
    exit(2);
  }
}

static size_t number(void) {
  uint64_t word;
  take(&word, sizeof word);
  return (size_t)word;
}

static void give(const void *from, size_t size) {
  if (size != 0 && fwrite(from, size, 1, stdout) != 1) {
    exit(3);
  }
}

/* Bytes of the script; NULL when there are none. */
static void *array(void) {
  size_t size = number();
  void *bytes = size == 0 ? NULL : malloc(size);
  take(bytes, size);
  return bytes;
}

static void must(NET *net, int status) {
  if (status != 0) {
    fprintf(stderr, "status %d: %s: %s\n", status, FN(status_text)(status), FN(error_message)(net));
    exit(4);
  }
}

static void call(NET *net, size_t op, size_t threads) {
  size_t sizes[1 + 2 * MOST], out_sizes[MOST], i;
  void *inputs[MOST], *targets[MOST], *outputs[MOST];
  float loss = 0, metrics[MOST];
  unsigned long before;
  size_t axes = FN(count)(net, AXES), n_inputs = FN(count)(net, INPUTS), n_targets = FN(count)(net, TARGETS);
  size_t n_outputs = FN(count)(net, OUTPUTS), n_metrics = FN(count)(net, METRICS);
  int status = -1;
  memset(metrics, 0, sizeof metrics);
  sizes[0] = number();
  for (i = 0; i < axes; i++) {
    void *lengths;
    sizes[1 + 2 * i] = number();
    lengths = array();
    memcpy(&sizes[2 + 2 * i], &lengths, sizeof lengths);
  }
  for (i = 0; i < n_inputs; i++) {
    inputs[i] = array();
  }
  for (i = 0; i < n_targets; i++) {
    targets[i] = array();
  }
  for (i = 0; i < n_outputs; i++) {
    out_sizes[i] = number();
    outputs[i] = out_sizes[i] == 0 ? NULL : malloc(out_sizes[i]);
  }
  before = allocations;
  switch (op) {
  case FORWARD:
    status = FN(forward)(net, (const FN(sizes) *)sizes, (const void *const *)inputs, outputs);
    break;
#ifdef TRAINS
  case EVALUATE:
    status = FN(evaluate)(net, (const FN(sizes) *)sizes, (const void *const *)inputs, (const void *const *)targets,
        outputs, &loss, metrics);
    break;
  case TRAIN:
    status = FN(train_step)(net, (const FN(sizes) *)sizes, (const void *const *)inputs, (const void *const *)targets,
        &loss, metrics);
    break;
#endif
#ifdef STEPS
  case BEGIN:
    status = FN(begin)(net, (const FN(sizes) *)sizes, (const void *const *)inputs, outputs);
    break;
  case STEP:
    status = FN(step)(net, (const void *const *)inputs, NULL, outputs);
    break;
#endif
  default:
    break;
  }
  must(net, status);
  if (threads == 1 && allocations != before) {
    fprintf(stderr, "call %lu allocated or freed %lu times\n", (unsigned long)op, allocations - before);
    exit(5);
  }
  for (i = 0; i < n_outputs; i++) {
    give(outputs[i], out_sizes[i]);
    free(outputs[i]);
  }
  give(&loss, sizeof loss);
  give(metrics, n_metrics * sizeof *metrics);
  for (i = 0; i < n_inputs; i++) {
    free(inputs[i]);
  }
  for (i = 0; i < n_targets; i++) {
    free(targets[i]);
  }
  for (i = 0; i < axes; i++) {
    void *lengths;
    memcpy(&lengths, &sizes[2 + 2 * i], sizeof lengths);
    free(lengths);
  }
}

static void dump(NET *net) {
  size_t i, axis, shape[MOST];
  for (i = 0; i < FN(count)(net, PARAMETERS); i++) {
    size_t elements = 1;
    must(net, FN(shape)(net, PARAMETERS, i, NULL, shape));
    for (axis = 0; axis < FN(rank)(net, PARAMETERS, i); axis++) {
      elements *= shape[axis];
    }
    give(FN(parameter)(net, i), elements * sizeof(float));
  }
}

int main(void) {
  struct {
    FN(options) options;
    size_t room[MOST];
  } all;
  char message[256] = "";
  NET *net = NULL;
  size_t axes, i, op, threads;
  int status;
  FN(options_default)(&all.options);
  all.options.batch = number();
  all.options.threads = threads = number();
  all.options.seed = number();
  all.options.message = message;
  all.options.message_size = sizeof message;
  axes = number();
  for (i = 0; i < axes; i++) {
    size_t steps = number();
    memcpy((char *)&all.options.message_size + (1 + i) * sizeof(size_t), &steps, sizeof steps);
  }
  status = FN(create)(&all.options, &net);
  if (status != 0) {
    fprintf(stderr, "create: %s: %s\n", FN(status_text)(status), message);
    return 1;
  }
#ifdef COUNTING
  if (allocations == 0) {
    fprintf(stderr, "nothing is counted\n");
    return 1;
  }
#endif
  while ((op = number()) != END) {
    switch (op) {
#ifdef CARRIES
    case CARRY:
      must(net, FN(set_carry)(net, (int)number()));
      break;
    case RESET:
      must(net, FN(reset)(net));
      break;
#endif
#ifdef TRAINS
    case RATE: {
      double rate;
      take(&rate, sizeof rate);
      must(net, FN(set_learning_rate)(net, rate));
      break;
    }
#endif
    case LOAD: {
      size_t size = number();
      void *bytes = malloc(size);
      take(bytes, size);
      must(net, FN(load_memory)(net, bytes, size));
      free(bytes);
      break;
    }
    case DUMP:
      dump(net);
      break;
    default:
      call(net, op, threads);
      break;
    }
  }
  FN(destroy)(net);
  return 0;
}
