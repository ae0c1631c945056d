/* Reads files in MNIST's format: pictures and their labels as bytes. */
#ifndef IDX_H
#define IDX_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A number of four bytes, the most significant first. */
static inline size_t idx_number(const unsigned char *bytes) {
  return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | (size_t)bytes[3];
}

/* The elements of a file, and how many members it has; NULL if it cannot be read. To be freed. */
static inline unsigned char *idx_read(const char *path, size_t *members, size_t *elements) {
  unsigned char header[16];
  unsigned char *values = NULL;
  size_t axes, axis, total = 1;
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    return NULL;
  }
  if (fread(header, 1, 4, file) == 4 && (axes = header[3]) >= 1 && axes <= 3
      && fread(header + 4, 4, axes, file) == axes) {
    for (axis = 0; axis < axes; axis++) {
      total *= idx_number(header + 4 + 4 * axis);
    }
    *members = idx_number(header + 4);
    *elements = total;
    values = malloc(total);
    if (values != NULL && fread(values, 1, total, file) != total) {
      free(values);
      values = NULL;
    }
  }
  fclose(file);
  return values;
}

/* Pictures as the network learned them: white is 1. To be freed. */
static inline float *idx_pictures(const char *path, size_t *members) {
  size_t elements = 0, i;
  float *pictures = NULL;
  unsigned char *bytes = idx_read(path, members, &elements);
  if (bytes != NULL && (pictures = malloc(elements * sizeof *pictures)) != NULL) {
    for (i = 0; i < elements; i++) {
      pictures[i] = (float)bytes[i] / 255.0f;
    }
  }
  free(bytes);
  return pictures;
}

/* Labels as tokens. To be freed. */
static inline int32_t *idx_labels(const char *path, size_t *members) {
  size_t elements = 0, i;
  int32_t *labels = NULL;
  unsigned char *bytes = idx_read(path, members, &elements);
  if (bytes != NULL && (labels = malloc(elements * sizeof *labels)) != NULL) {
    for (i = 0; i < elements; i++) {
      labels[i] = bytes[i];
    }
  }
  free(bytes);
  return labels;
}

#endif
