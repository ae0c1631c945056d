/* Two networks in one program; two instances of one, trained on threads of their own, end alike. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "digits.h"
#include "hello.h"

enum { BATCH = 4, STEPS = 25 };

static float image[BATCH * DIGITS_INPUT_IMAGE_SIZE];
static const int32_t label[BATCH] = {1, 2, 3, 4};

static void *train(void *to) {
  digits_options options;
  digits *net = NULL;
  float *logits = to;
  int step;
  digits_options_default(&options);
  options.batch = BATCH;
  options.threads = 2;
  if (digits_create(&options, &net) != DIGITS_OK) {
    return NULL;
  }
  for (step = 0; step < STEPS; step++) {
    if (digits_train(net, BATCH, image, label, NULL) != DIGITS_OK) {
      return NULL;
    }
  }
  if (digits_run(net, BATCH, image, logits) != DIGITS_OK) {
    return NULL;
  }
  digits_destroy(net);
  return to;
}

int main(void) {
  static float logits[2][BATCH * DIGITS_OUTPUT_LOGITS_SIZE];
  pthread_t threads[2];
  hello_options options;
  hello_sizes sizes;
  hello *net = NULL;
  const int32_t text[3] = {0, 1, 2};
  float scores[3 * HELLO_OUTPUT_LOGITS_SIZE];
  size_t i;
  for (i = 0; i < sizeof image / sizeof *image; i++) {
    image[i] = (float)(i * 7 % 11) / 11.0f;
  }
  for (i = 0; i < 2; i++) {
    if (pthread_create(&threads[i], NULL, train, logits[i]) != 0) {
      return 1;
    }
  }
  hello_options_default(&options);
  options.T = 3;
  sizes.batch = 1;
  sizes.T.steps = 3;
  sizes.T.lengths = NULL;
  if (hello_create(&options, &net) != HELLO_OK || hello_run(net, &sizes, text, scores) != HELLO_OK) {
    fprintf(stderr, "hello: %s\n", hello_error_message(net));
    return 1;
  }
  hello_destroy(net);
  for (i = 0; i < 2; i++) {
    void *result = NULL;
    if (pthread_join(threads[i], &result) != 0 || result == NULL) {
      fprintf(stderr, "thread %d failed\n", (int)i);
      return 1;
    }
  }
  if (memcmp(logits[0], logits[1], sizeof logits[0]) != 0 || logits[0][0] == logits[0][1]) {
    fprintf(stderr, "the instances differ, or have learned nothing\n");
    return 1;
  }
  return 0;
}
