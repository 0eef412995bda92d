#include "kernels/cpu/step_runner.h"

#include <algorithm>

#include "kernels/cpu/spin.h"

namespace mlpserve::cpu {
namespace {

// Tasks in a thread's share of a layer: enough for others to take some, should the thread be late.
constexpr int64_t kTasksPerThread = 8;

int64_t CeilDiv(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace

StepRunner::StepRunner(PackedBlock& block, int64_t rows, int threads)
    : block_(block),
      threads_(static_cast<size_t>(threads)),
      workspace_(rows, block.shape().widest) {
  if (block.copies_input()) steps_.push_back({.kind = Step::Kind::kReadInput});
  for (int layer = 0; layer < block.layers(); ++layer) {
    steps_.push_back({.kind = Step::Kind::kTiles, .layer = layer});
    for (int n = 0; n < block.normalizations(layer); ++n) {
      steps_.push_back({.kind = Step::Kind::kNormalize, .layer = layer, .normalization = n});
    }
  }
  counter_count_ = steps_.size() * (threads_ + 1);
  counters_ = std::make_unique<Counter[]>(counter_count_);
}

void StepRunner::Prepare() {
  for (size_t i = 0; i < counter_count_; ++i) {
    counters_[i].value.store(0, std::memory_order_relaxed);
  }
}

void StepRunner::Run(const Batch& batch, const Plan& plan, int thread) {
  for (size_t step = 0; step < steps_.size(); ++step) {
    const int64_t finished = RunTasks(batch, plan, step, thread);
    done(step).fetch_add(finished, std::memory_order_release);
    const int64_t all = CutStep(batch, plan, steps_[step]).count();
    const auto complete = [&] { return done(step).load(std::memory_order_acquire) == all; };
    while (!SpinUntil(std::chrono::milliseconds(1), complete)) {
    }
  }
}

// Returns how many tasks this thread has done.
int64_t StepRunner::RunTasks(const Batch& batch, const Plan& plan, size_t step, int thread) {
  const Cut cut = CutStep(batch, plan, steps_[step]);
  int64_t finished = 0;
  for (int turn = 0; turn < plan.threads; ++turn) {
    const int owner = (thread + turn) % plan.threads;
    const int64_t end = cut.first_of(owner + 1, plan.threads);
    while (true) {
      const int64_t task = cut.first_of(owner, plan.threads) +
                           taken(step, owner).fetch_add(1, std::memory_order_relaxed);
      if (task >= end) break;
      LayerTile tile{.layer = steps_[step].layer, .thread = thread};
      if (turn == 0) {
        tile.upcoming = task + 1 < end ? block_.weights(tile.layer).panel(cut.panel_of(task + 1))
                                       : FirstWeights(batch, plan, step + 1, thread);
      }
      RunTask(batch, cut, steps_[step], task, tile);
      ++finished;
    }
  }
  return finished;
}

// The weights that `thread` reads first in the next layer; after the last layer, in the first.
std::span<const std::byte> StepRunner::FirstWeights(const Batch& batch, const Plan& plan,
                                                    size_t step, int thread) const {
  while (step < steps_.size() && steps_[step].kind != Step::Kind::kTiles) ++step;
  if (step == steps_.size()) return FirstWeights(batch, plan, 0, thread);
  const Cut cut = CutStep(batch, plan, steps_[step]);
  const int64_t task = std::min(cut.first_of(thread, plan.threads), cut.count() - 1);
  return block_.weights(steps_[step].layer).panel(cut.panel_of(task));
}

StepRunner::Cut StepRunner::CutStep(const Batch& batch, const Plan& plan, const Step& step) const {
  const int64_t panels = block_.weights(step.layer).count();
  Cut cut{.rows = plan.chunk_rows, .row_tasks = CeilDiv(batch.rows, plan.chunk_rows)};
  switch (step.kind) {
    case Step::Kind::kReadInput:
      cut.panels = panels;
      return cut;
    case Step::Kind::kNormalize:
      return {.rows = batch.rows, .panels = 1, .panel_tasks = panels};
    case Step::Kind::kTiles:
      break;
  }
  const int64_t wanted = plan.threads == 1 ? 1 : kTasksPerThread * plan.threads;
  cut.panels = panels / std::clamp<int64_t>(CeilDiv(wanted, cut.row_tasks), 1, panels);
  cut.panel_tasks = CeilDiv(panels, cut.panels);
  // Many rows do not stay in the cache while the panels pass; few do.
  cut.rows_first = !block_.shape().batch_statistics;
  return cut;
}

void StepRunner::RunTask(const Batch& batch, const Cut& cut, const Step& step, int64_t task,
                         LayerTile tile) {
  const int64_t row = cut.row_of(task);
  tile.rows = {.in_batch = row, .in_workspace = row, .count = std::min(cut.rows, batch.rows - row)};
  tile.first_panel = cut.panel_of(task);
  tile.last_panel = std::min(block_.weights(step.layer).count(), tile.first_panel + cut.panels);
  switch (step.kind) {
    case Step::Kind::kReadInput:
      return block_.ReadInput(batch, tile.rows, workspace_);
    case Step::Kind::kTiles:
      return block_.RunTile(batch, tile, workspace_);
    case Step::Kind::kNormalize:
      return block_.RunNormalization(batch, tile, step.normalization, workspace_);
  }
}

}  // namespace mlpserve::cpu
