/* Recognizes handwritten digits with a network whose weights are inside its library.
 *
 *   netc compile models/digits.net --embed-weights models/digits/digits.safetensors
 *   cc infer.c libdigits.a -lm -lpthread -o infer
 *   ./infer models/digits/images.idx
 */
#include "digits.h"
#include "idx.h"

int main(int argc, char **argv) {
  digits *net = NULL;
  digits_options options;
  size_t n = 0, i, k;
  int status;
  float *images, *logits;
  if (argc != 2 || (images = idx_pictures(argv[1], &n)) == NULL) {
    fprintf(stderr, "usage: infer IMAGES.idx\n");
    return 1;
  }
  digits_options_default(&options);
  options.batch = n;
  if ((status = digits_create(&options, &net)) != DIGITS_OK) {
    fprintf(stderr, "%s\n", digits_status_text(status));
    return 1;
  }
  logits = malloc(n * DIGITS_OUTPUT_LOGITS_SIZE * sizeof *logits);
  if (logits == NULL || digits_run(net, n, images, logits) != DIGITS_OK) {
    fprintf(stderr, "%s\n", digits_error_message(net));
    return 1;
  }
  for (i = 0; i < n; i++) {
    const float *scores = logits + i * DIGITS_OUTPUT_LOGITS_SIZE;
    size_t best = 0;
    for (k = 1; k < DIGITS_OUTPUT_LOGITS_SIZE; k++) {
      best = scores[k] > scores[best] ? k : best;
    }
    printf("picture %zu is a %zu\n", i, best);
  }
  digits_destroy(net);
  free(logits);
  free(images);
  return 0;
}
