// Breaks the include rules on purpose: the layout test proves with it that the check bites.
#pragma once

#include <cuda_runtime.h>

#include "server/engine/backend.h"
