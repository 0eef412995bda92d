// Early returns for functions that return an absl::Status or an absl::StatusOr.
//
// Each evaluates its expression once, and expands to statements: not for the branch of an if
// without braces.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns `expression`, an absl::Status, unless it is OK.
#define MLPSERVE_RETURN_IF_ERROR(expression)                                  \
  do {                                                                        \
    if (absl::Status mlpserve_status = (expression); !mlpserve_status.ok()) { \
      return mlpserve_status;                                                 \
    }                                                                         \
  } while (false)

// Declares or assigns `target` from the value of `expression`, an absl::StatusOr, or returns its
// status. The preprocessor splits a target at its commas: `auto` there.
#define MLPSERVE_ASSIGN_OR_RETURN(target, ...) \
  MLPSERVE_ASSIGN_OR_RETURN_(MLPSERVE_CONCAT_(mlpserve_status_or_, __LINE__), target, __VA_ARGS__)

#define MLPSERVE_ASSIGN_OR_RETURN_(result, target, ...) \
  auto result = (__VA_ARGS__);                          \
  if (!result.ok()) return std::move(result).status();  \
  target = *std::move(result)
#define MLPSERVE_CONCAT_(a, b) MLPSERVE_CONCAT_EXPANDED_(a, b)
#define MLPSERVE_CONCAT_EXPANDED_(a, b) a##b
