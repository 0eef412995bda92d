// RepositoryModelLoad and RepositoryModelUnload: the protocol's words for what ModelControl does.
#pragma once

#include "proto/open_inference.pb.h"
#include "server/catalog/model_control.h"

namespace mlpserve {

// `done` is called once, perhaps later and on another thread. Its errors, besides those of
// ModelControl: FAILED_PRECONDITION, there is no `control`; INVALID_ARGUMENT, a parameter that is
// unknown or of another type than expected, named.
void LoadModel(ModelControl* control, const inference::RepositoryModelLoadRequest& request,
               ModelControl::Done done);
void UnloadModel(ModelControl* control, const inference::RepositoryModelUnloadRequest& request,
                 ModelControl::Done done);

}  // namespace mlpserve
