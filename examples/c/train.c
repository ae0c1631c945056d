/* Trains LeNet: what `--train` adds is the whole training step, with the loss and the optimizer of the network's file.
 *
 *   netc compile models/lenet.net --train
 *   cc train.c liblenet.a -lm -lpthread -o train
 *   ./train models/digits/images.idx models/digits/labels.idx lenet.safetensors
 */
#include "idx.h"
#include "lenet.h"

enum { STEPS = 30 };

int main(int argc, char **argv) {
  lenet *net = NULL;
  lenet_options options;
  size_t n = 0, n_labels = 0;
  float loss = 0.0f, accuracy = 0.0f;
  float *images;
  int32_t *labels;
  int status, step;
  const void *inputs[LENET_N_INPUTS], *targets[LENET_N_TARGETS];
  if (argc != 4 || (images = idx_pictures(argv[1], &n)) == NULL || (labels = idx_labels(argv[2], &n_labels)) == NULL
      || n != n_labels) {
    fprintf(stderr, "usage: train IMAGES.idx LABELS.idx WEIGHTS.safetensors\n");
    return 1;
  }
  lenet_options_default(&options);
  options.batch = n;
  options.threads = 2;
  if ((status = lenet_create(&options, &net)) != LENET_OK) {
    fprintf(stderr, "%s\n", lenet_status_text(status));
    return 1;
  }
  for (step = 1; step <= STEPS; step++) {
    if (lenet_train(net, n, images, labels, &loss) != LENET_OK) {
      fprintf(stderr, "%s\n", lenet_error_message(net));
      return 1;
    }
    if (step == 1 || step % 10 == 0) {
      printf("step %2d: loss %.4f\n", step, (double)loss);
    }
  }
  /* As it infers: without dropout. */
  inputs[LENET_INPUT_IMAGE] = images;
  targets[LENET_TARGET_LABEL] = labels;
  if (lenet_evaluate(net, NULL, inputs, targets, NULL, &loss, &accuracy) != LENET_OK
      || lenet_save(net, argv[3], 0) != LENET_OK) {
    fprintf(stderr, "%s\n", lenet_error_message(net));
    return 1;
  }
  printf("after %d steps: loss %.4f, accuracy %.0f %%\n", STEPS, (double)loss, 100.0 * (double)accuracy);
  lenet_destroy(net);
  free(images);
  free(labels);
  return 0;
}
