// Breaks the include rules on purpose: the layout test proves with it that the check bites.
#pragma once

#include <grpcpp/grpcpp.h>

#include "server/engine/backend.h"
