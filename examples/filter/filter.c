/* Takes the noise off a stream of samples with an LSTM: raw floats from standard input, raw floats to standard output.
 *
 *   netc compile models/filter.net --embed-weights models/filter/filter.safetensors
 *   cc filter.c libfilter.a -lm -lpthread -o filter
 *   ./filter < noisy.f32 > clean.f32
 *
 * Each sample goes out before the next one comes in: the network keeps its state from step to step. Once it has begun, a
 * step allocates nothing and makes no system call, so that it may run where sound is made.
 */
#include <stdio.h>

#include "filter.h"

int main(void) {
  filter *net = NULL;
  filter_options options;
  filter_sizes sizes;
  float noisy, smooth;
  int status;
  filter_options_default(&options);
  options.tasks = FILTER_TASK_STEP;
  if ((status = filter_create(&options, &net)) != FILTER_OK) {
    fprintf(stderr, "%s\n", filter_status_text(status));
    return 1;
  }
  sizes.batch = 1;
  sizes.T.steps = 0;
  sizes.T.lengths = NULL;
  status = filter_begin(net, &sizes, NULL, NULL);
  while (status == FILTER_OK && fread(&noisy, sizeof noisy, 1, stdin) == 1) {
    status = filter_advance(net, &noisy, &smooth);
    if (status == FILTER_OK && fwrite(&smooth, sizeof smooth, 1, stdout) != 1) {
      break;
    }
  }
  if (status != FILTER_OK) {
    fprintf(stderr, "%s\n", filter_error_message(net));
  }
  filter_destroy(net);
  return status != FILTER_OK || ferror(stdin) || ferror(stdout) || fflush(stdout) != 0;
}
