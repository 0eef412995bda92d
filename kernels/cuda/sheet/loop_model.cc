#include "kernels/cuda/sheet/loop_model.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace mlpserve::cuda {
namespace {

constexpr int kQuarters = 4;
constexpr int kScoreboards = 6;
constexpr int kRegisters = 256;
constexpr int kWarmPasses = 12, kPasses = 24;  // that each warp goes round, and that are counted
constexpr int64_t kMostCycles = 4'000'000;     // after which something waits for ever

enum class Pipe { kNone, kProduct, kInteger, kShared, kCopy, kLoad, kCommit, kAwait, kBarrier };

struct Operation {
  Pipe pipe = Pipe::kNone;
  Control control;
  int bytes = 0;
  int accumulator = 0;  // register of a product's sum
  int most_open = 0;    // groups of copies that need not have come
};

bool IsAnyOf(const Instruction& i, std::initializer_list<std::string_view> names) {
  return std::ranges::any_of(names, [&i](std::string_view name) { return Is(i, name); });
}

Pipe PipeOf(const Instruction& i) {
  if (i.is_never) return Pipe::kNone;
  if (Is(i, "HMMA")) return Pipe::kProduct;
  if (IsAnyOf(i, {"LDSM", "LDS", "STS"})) return Pipe::kShared;
  if (Is(i, "LDGSTS")) return Pipe::kCopy;
  if (Is(i, "LDG")) return Pipe::kLoad;
  if (Is(i, "LDGDEPBAR")) return Pipe::kCommit;
  if (Is(i, "DEPBAR")) return Pipe::kAwait;
  if (Is(i, "BAR")) return Pipe::kBarrier;
  if (IsAnyOf(i, {"BRA", "NOP"}) || i.opcode.starts_with("U")) return Pipe::kNone;
  return Pipe::kInteger;
}

int LastNumber(const std::string& operands, std::string_view before) {
  const size_t at = operands.rfind(before);
  if (at == std::string::npos) return 0;
  return static_cast<int>(std::strtol(operands.c_str() + at + before.size(), nullptr, 0));
}

Operation OperationOf(const Instruction& i) {
  Operation operation{.pipe = PipeOf(i), .control = i.control};
  if (operation.pipe == Pipe::kProduct) operation.accumulator = LastNumber(i.operands, ", R");
  if (operation.pipe == Pipe::kAwait) operation.most_open = LastNumber(i.operands, ", ");
  operation.bytes = BytesOf(i);
  return operation;
}

struct Warp {
  int cta = 0;
  size_t next = 0;
  int passes = 0;
  int64_t ready = 0;  // when the next may be issued
  bool at_barrier = false;
  std::array<int64_t, kScoreboards> held_until = {};
  std::array<int64_t, kRegisters> sums_ready = {};
  std::vector<int64_t> groups;  // when each group of copies has come
  int64_t open_group = 0;
};

class Sm {
 public:
  Sm(const std::vector<Instruction>& loop, const LoopWarps& shape, const SmRates& rates)
      : rates_(rates), shape_(shape) {
    for (const Instruction& i : loop) operations_.push_back(OperationOf(i));
    for (int cta = 0; cta < shape.ctas; ++cta) {
      for (int w = 0; w < shape.warps_per_cta; ++w) {
        quarters_[w % kQuarters].warps.push_back(warps_.size());
        // CTAs do not start at one time.
        warps_.push_back({.cta = cta, .ready = int64_t{97} * cta});
      }
    }
  }

  LoopSpeed Run() {
    while (LeastPasses() < kWarmPasses && now_ < kMostCycles) Cycle();
    const Busy before = busy_;
    const int64_t passes_before = AllPasses(), start = now_;
    while (LeastPasses() < kWarmPasses + kPasses && now_ < kMostCycles) Cycle();
    const auto cycles = static_cast<double>(now_ - start);
    const auto passes = static_cast<double>(AllPasses() - passes_before);
    if (passes == 0) return {};
    const double slots = cycles * kQuarters;
    return {.cycles = cycles * static_cast<double>(warps_.size()) / passes,
            .tensor_share = (busy_.tensor - before.tensor) / slots,
            .issue_share = (busy_.issue - before.issue) / slots,
            .shared_share = (busy_.shared - before.shared) / cycles,
            .l2_share = (busy_.l2_bytes - before.l2_bytes) / cycles / rates_.l2_bytes_per_clock,
            .l2_bytes_per_clock = (busy_.l2_bytes - before.l2_bytes) / cycles};
  }

 private:
  struct Quarter {
    std::vector<size_t> warps;
    size_t last = 0;  // that was issued: it goes on while it can, then the oldest does
    int64_t tensor_free = 0, integer_free = 0;
  };
  struct Busy {
    double tensor = 0, issue = 0, shared = 0, l2_bytes = 0;
  };

  int LeastPasses() const { return std::ranges::min_element(warps_, {}, &Warp::passes)->passes; }
  int64_t AllPasses() const {
    int64_t sum = 0;
    for (const Warp& warp : warps_) sum += warp.passes;
    return sum;
  }

  void Cycle() {
    for (Quarter& quarter : quarters_) {
      const size_t count = quarter.warps.size();
      for (size_t i = 0; i < count; ++i) {
        const size_t place = (quarter.last + i) % count;
        Warp& warp = warps_[quarter.warps[place]];
        if (!MayIssue(warp, quarter)) continue;
        Issue(warp, quarter);
        quarter.last = place;
        break;
      }
    }
    ++now_;
  }

  bool MayIssue(const Warp& warp, const Quarter& quarter) const {
    if (warp.at_barrier || warp.ready > now_) return false;
    const Operation& o = operations_[warp.next];
    for (int b = 0; b < kScoreboards; ++b) {
      if ((o.control.waits >> b & 1) != 0 && warp.held_until[b] > now_) return false;
    }
    if (o.pipe == Pipe::kProduct) {
      return quarter.tensor_free <= now_ && warp.sums_ready[o.accumulator] <= now_;
    }
    if (o.pipe == Pipe::kInteger) return quarter.integer_free <= now_;
    if (o.pipe == Pipe::kAwait) {
      const auto open = static_cast<size_t>(o.most_open);
      return warp.groups.size() <= open || warp.groups[warp.groups.size() - 1 - open] <= now_;
    }
    return true;
  }

  void Issue(Warp& warp, Quarter& quarter) {
    const Operation& o = operations_[warp.next];
    busy_.issue += 1;
    warp.ready = now_ + std::max(1, o.control.stall);
    const int64_t done = Execute(o, warp, quarter);
    if (o.control.write_barrier != Control::kNoBarrier) Hold(warp, o.control.write_barrier, done);
    // Operands have been read when a queue has taken the instruction.
    if (o.control.read_barrier != Control::kNoBarrier) {
      Hold(warp, o.control.read_barrier, now_ + rates_.shared_latency);
    }
    if (++warp.next < operations_.size()) return;
    warp.next = 0;
    ++warp.passes;
  }

  static void Hold(Warp& warp, int barrier, int64_t until) {
    if (barrier < kScoreboards) {
      warp.held_until[barrier] = std::max(warp.held_until[barrier], until);
    }
  }

  // When its result is there.
  int64_t Execute(const Operation& o, Warp& warp, Quarter& quarter) {
    switch (o.pipe) {
      case Pipe::kProduct:
        busy_.tensor += rates_.product_cycles;
        quarter.tensor_free = now_ + rates_.product_cycles;
        warp.sums_ready[o.accumulator] = now_ + rates_.product_latency;
        return now_ + rates_.product_latency;
      case Pipe::kInteger:
        quarter.integer_free = now_ + rates_.integer_cycles;
        return now_;
      case Pipe::kShared:
        return TakeShared(o.bytes, shape_.conflicts) + rates_.shared_latency;
      case Pipe::kCopy:
        TakeShared(o.bytes, 1);
        warp.open_group = std::max(warp.open_group, TakeL2(o.bytes) + rates_.l2_latency);
        return now_ + rates_.shared_latency;
      case Pipe::kLoad:
        // Through L1, which is the same memory: written there, and read out of it line by line.
        TakeShared(o.bytes, 1);
        TakeShared(0, shape_.lines_a_load);
        return TakeL2(o.bytes) + rates_.l2_latency;
      case Pipe::kCommit:
        warp.groups.push_back(std::exchange(warp.open_group, 0));
        return now_;
      case Pipe::kBarrier:
        Arrive(warp);
        return now_;
      case Pipe::kAwait:
      case Pipe::kNone:
        return now_;
    }
    return now_;
  }

  // At least a cycle, whatever few bytes are asked for.
  int64_t TakeShared(int bytes, double conflicts) {
    const double cycles = conflicts * std::max(1.0, bytes / rates_.shared_bytes_per_clock);
    shared_free_ = std::max(shared_free_, static_cast<double>(now_)) + cycles;
    busy_.shared += cycles;
    return static_cast<int64_t>(shared_free_);
  }

  int64_t TakeL2(int bytes) {
    l2_free_ = std::max(l2_free_, static_cast<double>(now_)) + bytes / rates_.l2_bytes_per_clock;
    busy_.l2_bytes += bytes;
    return static_cast<int64_t>(l2_free_);
  }

  void Arrive(Warp& warp) {
    warp.at_barrier = true;
    const auto waits = [&warp](const Warp& w) { return w.cta != warp.cta || w.at_barrier; };
    if (!std::ranges::all_of(warps_, waits)) return;
    for (Warp& w : warps_) {
      if (w.cta != warp.cta) continue;
      w.at_barrier = false;
      w.ready = std::max(w.ready, now_ + rates_.barrier_latency);
    }
  }

  const SmRates rates_;
  const LoopWarps shape_;
  std::vector<Operation> operations_;
  std::vector<Warp> warps_;
  std::array<Quarter, kQuarters> quarters_;
  int64_t now_ = 0;
  double shared_free_ = 0, l2_free_ = 0;
  Busy busy_;
};

}  // namespace

std::string LoopSpeed::limit() const {
  constexpr double kBusy = 0.9;
  const std::pair<double, const char*> shares[] = {
      {tensor_share, "tensor"}, {issue_share, "issue"}, {shared_share, "shared"}, {l2_share, "L2"}};
  const auto& most = *std::ranges::max_element(shares);
  return most.first >= kBusy ? most.second : "latency";
}

LoopSpeed SpeedOf(const std::vector<Instruction>& loop, const LoopWarps& warps,
                  const SmRates& rates) {
  if (loop.empty() || warps.ctas < 1 || warps.warps_per_cta < 1) return {};
  return Sm(loop, warps, rates).Run();
}

double TensorShareOfTiles(const LoopSpeed& speed, const LoopWarps& warps, const TileEnds& ends,
                          const SmRates& rates) {
  const double loop = ends.passes * speed.cycles;
  const double warps_of_quarter = std::max(1.0, warps.ctas * warps.warps_per_cta / 4.0);
  const double outside = rates.memory_latency + ends.instructions * warps_of_quarter +
                         warps.ctas * ends.written_bytes / rates.l2_bytes_per_clock;
  return speed.tensor_share * loop / (loop + outside);
}

}  // namespace mlpserve::cuda
