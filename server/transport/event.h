// What a completion queue's tags point to.
#pragma once

namespace mlpserve {

class Event {
 public:
  // Something that was asked for has happened, or, if not `ok`, never will. Called on a thread of
  // the queue; may destroy the object.
  virtual void OnEvent(bool ok) = 0;

 protected:
  ~Event() = default;
};

// An event that is a member of a call, which has several.
template <typename Call, void (Call::*kMethod)(bool ok)>
class MemberEvent final : public Event {
 public:
  explicit MemberEvent(Call* call) : call_(call) {}
  void OnEvent(bool ok) override { (call_->*kMethod)(ok); }

 private:
  Call* const call_;
};

}  // namespace mlpserve
