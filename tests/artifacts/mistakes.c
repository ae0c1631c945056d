/* Everything that can be done wrong is told by a status and a message. */
#include <stdio.h>
#include <string.h>

#include "filter.h"

#define EXPECT(status, call) expect(__LINE__, status, call)

static int failures;

static void expect(int line, int status, int found) {
  if (status != found) {
    fprintf(stderr, "line %d: status %d, not %d\n", line, found, status);
    failures++;
  }
}

int main(void) {
  filter_options options;
  filter_sizes sizes;
  filter *net = NULL;
  char message[128] = "";
  float x[8] = {0}, y[8] = {0};
  int32_t lengths[1] = {5};
  const void *inputs[1];
  void *outputs[1];
  size_t bytes = 0;
  static double memory[1];
  inputs[0] = x;
  outputs[0] = y;
  filter_options_default(&options);
  options.T = 4;
  options.message = message;
  options.message_size = sizeof message;
  EXPECT(FILTER_INVALID_ARGUMENT, filter_create(&options, NULL));
  EXPECT(FILTER_OK, filter_memory_size(&options, &bytes));
  options.memory = memory;
  options.memory_size = sizeof memory;
  EXPECT(FILTER_NO_MEMORY, filter_create(&options, &net));
  if (net != NULL || strlen(message) == 0 || bytes <= sizeof memory) {
    fprintf(stderr, "no instance, but a message: `%s`\n", message);
    failures++;
  }
  options.memory = NULL;
  options.batch = (size_t)-1 / 2;
  if (filter_create(&options, &net) == FILTER_OK) {
    fprintf(stderr, "an instance for half of all members that can be counted\n");
    failures++;
  }
  options.batch = 1;
  EXPECT(FILTER_OK, filter_create(&options, &net));
  EXPECT(FILTER_NOT_BEGUN, filter_advance(net, x, y));
  sizes.batch = 1;
  sizes.T.steps = 5;
  sizes.T.lengths = NULL;
  EXPECT(FILTER_INVALID_ARGUMENT, filter_forward(net, &sizes, inputs, outputs));
  sizes.T.steps = 4;
  sizes.batch = 2;
  EXPECT(FILTER_INVALID_ARGUMENT, filter_forward(net, &sizes, inputs, outputs));
  sizes.batch = 1;
  sizes.T.lengths = lengths;
  EXPECT(FILTER_INVALID_INPUT, filter_forward(net, &sizes, inputs, outputs));
  lengths[0] = 4;
  EXPECT(FILTER_OK, filter_forward(net, &sizes, inputs, outputs));
  EXPECT(FILTER_INVALID_ARGUMENT, filter_forward(net, &sizes, NULL, outputs));
  EXPECT(FILTER_FILE, filter_load(net, "no/such/file"));
  EXPECT(FILTER_INVALID_WEIGHTS, filter_load_memory(net, "nonsense", 8));
  EXPECT(FILTER_FILE, filter_save(net, "no/such/folder/file", 0));
  EXPECT(FILTER_INVALID_ARGUMENT, filter_forward(NULL, &sizes, inputs, outputs));
  if (strlen(filter_error_message(net)) == 0 || filter_parameter(net, 99) != NULL || filter_find(net, FILTER_INPUTS, "loud") != -1) {
    fprintf(stderr, "no message: `%s`\n", filter_error_message(net));
    failures++;
  }
  filter_destroy(net);
  filter_destroy(NULL);
  return failures != 0;
}
