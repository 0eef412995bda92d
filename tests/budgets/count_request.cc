// Prints, as JSON, what one request costs in steady state: the heap allocations and the bytes that
// are copied on its way through our code, before its batch has run and after.
//
// usage: count_request ROWS
//
// Counted are calls of operator new and of memcpy and memmove on the thread that serves. Not gRPC's
// own: it takes memory with malloc, and where it calls operator new that is told apart. Copies: of
// the request's bytes, and of a row or more on the way into the answer.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "tests/budgets/served_request.h"

namespace {

struct Counts {
  int64_t allocations = 0;
  int64_t copied_bytes = 0;
};
Counts before_answer;                     // copied: from the request's message
Counts with_answer;                       // copied: a row or more
thread_local Counts* counting = nullptr;  // null: nothing is counted

// Where the request's message lies.
std::vector<grpc::Slice> message;

bool IsOfMessage(const void* memory) {
  const auto* const byte = static_cast<const uint8_t*>(memory);
  for (const grpc::Slice& slice : message) {
    if (byte >= slice.begin() && byte < slice.end()) return true;
  }
  return false;
}

void CountCopy(const void* from, size_t size) {
  constexpr size_t kRow = mlpserve::kCountedOutputs * 4;
  if (counting == nullptr) return;
  if (counting == &with_answer ? size >= kRow : IsOfMessage(from)) {
    counting->copied_bytes += static_cast<int64_t>(size);
  }
}

bool IsOfGrpc(void* caller) {
  Dl_info found;
  return dladdr(caller, &found) != 0 && std::strstr(found.dli_fname, "libgrpc") != nullptr;
}

void* Allocate(size_t size, void* caller) {
  if (counting != nullptr && !IsOfGrpc(caller)) ++counting->allocations;
  if (void* const memory = std::malloc(size)) return memory;
  std::abort();
}

}  // namespace

void* operator new(size_t size) { return Allocate(size, __builtin_return_address(0)); }
void* operator new[](size_t size) { return Allocate(size, __builtin_return_address(0)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

// In assembler, as the compiler would make calls of memcpy of a loop.
extern "C" void* memcpy(void* to, const void* from, size_t size) {
  CountCopy(from, size);
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return result;
}
extern "C" void* memmove(void* to, const void* from, size_t size) {
  CountCopy(from, size);
  void* const result = to;
  const bool overlaps = to > from && static_cast<char*>(to) < static_cast<const char*>(from) + size;
  if (!overlaps) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
  }
  to = static_cast<char*>(to) + size - 1;
  from = static_cast<const char*>(from) + size - 1;
  asm volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return result;
}

int main(int argc, char** argv) {
  using mlpserve::CountedWork;
  const int64_t rows = argc == 2 ? std::atoll(argv[1]) : 0;
  if (rows < 1) {
    std::fprintf(stderr, "usage: count_request ROWS\n");
    return 2;
  }
  mlpserve::CountedBlock block;
  CountedWork work(block);
  work.before_answer = [] {
    if (counting != nullptr) counting = &with_answer;
  };
  constexpr int kWarmUp = 100, kCounted = 1000;
  for (int i = 0; i < kWarmUp + kCounted; ++i) {
    grpc::ByteBuffer request = mlpserve::CountedRequest(rows);
    if (!request.Dump(&message).ok()) return 1;
    work.received().Swap(&request);
    counting = i < kWarmUp ? nullptr : &before_answer;
    const absl::Status status = work.Serve();
    counting = nullptr;
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
    work.answer.Clear();
    work.Clear();
  }
  const auto each = [](int64_t count) { return static_cast<double>(count) / kCounted; };
  const auto in = static_cast<double>(rows * mlpserve::kCountedInputs * 4);
  const auto out = static_cast<double>(rows * mlpserve::kCountedOutputs * 4);
  std::printf(
      "{\"allocations_before_answer\": %g, \"allocations_with_answer\": %g, "
      "\"copied_per_input_byte\": %g, \"copied_per_output_byte\": %g}\n",
      each(before_answer.allocations), each(with_answer.allocations),
      each(before_answer.copied_bytes) / in, each(with_answer.copied_bytes) / out);
  return 0;
}
