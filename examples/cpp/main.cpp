// One network, an instance for each thread, and RAII around the C interface.
//
//   netc compile models/digits.net --embed-weights models/digits/digits.safetensors
//   c++ -std=c++17 main.cpp libdigits.a -lm -lpthread -o digits
//   ./digits models/digits/images.idx
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "digits.h"

class Digits {
public:
  Digits() {
    digits *net = nullptr;
    const int status = digits_create(nullptr, &net);
    if (status != DIGITS_OK) {
      throw std::runtime_error(digits_status_text(status));
    }
    net_.reset(net);
  }

  int recognize(const float *image) {
    std::array<float, DIGITS_OUTPUT_LOGITS_SIZE> logits{};
    if (digits_run(net_.get(), 1, image, logits.data()) != DIGITS_OK) {
      throw std::runtime_error(digits_error_message(net_.get()));
    }
    return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }

private:
  struct Destroy {
    void operator()(digits *net) const { digits_destroy(net); }
  };
  std::unique_ptr<digits, Destroy> net_;
};

// Pictures of a file in MNIST's format, white being 1.
static std::vector<float> read_pictures(const std::string &path) {
  constexpr std::size_t header = 16;
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (bytes.size() <= header) {
    throw std::runtime_error(path + ": no pictures");
  }
  std::vector<float> pictures(bytes.size() - header);
  std::transform(bytes.begin() + header, bytes.end(), pictures.begin(),
                 [](char byte) { return static_cast<float>(static_cast<unsigned char>(byte)) / 255.0f; });
  return pictures;
}

int main(int argc, char **argv) try {
  const std::vector<float> pictures = read_pictures(argc > 1 ? argv[1] : "images.idx");
  const std::size_t n = pictures.size() / DIGITS_INPUT_IMAGE_SIZE;
  std::vector<int> found(n);
  std::vector<std::thread> threads;
  for (std::size_t first = 0; first < 2; ++first) {
    threads.emplace_back([&, first] {
      Digits net;
      for (std::size_t i = first; i < n; i += 2) {
        found[i] = net.recognize(&pictures[i * DIGITS_INPUT_IMAGE_SIZE]);
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  for (std::size_t i = 0; i < n; ++i) {
    std::printf("picture %zu is a %d\n", i, found[i]);
  }
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
