// Breaks the include rules on purpose: the layout test proves with it that the check bites.
#pragma once

#include <google/protobuf/message.h>

#include "server/vocabulary/request.h"
