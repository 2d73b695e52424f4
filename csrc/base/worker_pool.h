// A few threads that stay: started when first needed, in the process that needs them.
#pragma once

#include <functional>
#include <memory>

namespace cvdecode {

// Runs one function on several threads at once. Used by one caller at a time. No thread exists
// before the first run() with more than one, and after a fork the child starts its own.
class WorkerPool {
 public:
  explicit WorkerPool(int num_threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const { return num_threads_; }  // at least 1

  // Calls work(i) for i in [0, min(count, size())), each on a thread of its own; work(0) runs on
  // the caller's. Returns when all have returned. work must not throw.
  void run(int count, const std::function<void(int)>& work);

 private:
  struct Threads;
  int num_threads_;
  std::unique_ptr<Threads> threads_;
};

}  // namespace cvdecode
